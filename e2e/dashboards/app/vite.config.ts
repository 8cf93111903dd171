import { defineConfig } from 'vite';

export default defineConfig({
  // The icons, which the components ask for by URL.
  publicDir: 'node_modules/@grafana/ui/dist/public',
  define: { 'process.env': {}, global: 'globalThis' },
  esbuild: { jsx: 'automatic' },
  // The bundle never leaves the machine: its size does not matter.
  build: { chunkSizeWarningLimit: 10_000, reportCompressedSize: false },
});

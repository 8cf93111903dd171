/** What is really on the page. */
import { type DataFrame, FieldType, getFieldSeriesColor, type GrafanaTheme2 } from '@grafana/data';

import type { LoadedPanel } from './load';
import { panelAttribute } from './page';
import type { PanelReport } from './report';

/** How long to wait for what is drawn late, such as tables, which measure themselves first. */
const patienceMs = 5000;
/** How many frames the last drawing may take until it is seen. */
const restFrames = 10;
const maxText = 2000;

/** Waits until every panel is drawn, or until it is clear that some will not be. */
export async function settled(panels: LoadedPanel[], theme: GrafanaTheme2): Promise<void> {
  const deadline = performance.now() + patienceMs;
  await document.fonts.ready;
  const missing = () => panels.some((panel, index) => hasContent(panel) && marks(panel, index, theme) === 0);
  while (performance.now() < deadline && missing()) {
    await nextFrame();
  }
  for (let frame = 0; frame < restFrames || loadingIcons(); frame++) {
    if (performance.now() > deadline) {
      return;
    }
    await nextFrame();
  }
}

function hasContent({ problems, targets }: LoadedPanel): boolean {
  return problems.length === 0 && (targets.length === 0 || targets.some(({ values }) => values > 0));
}

function nextFrame(): Promise<unknown> {
  return new Promise(requestAnimationFrame);
}

/** Icons come by URL; until then they are empty. */
function loadingIcons(): boolean {
  return [...document.querySelectorAll('section svg')].some((svg) => svg.childElementCount === 0);
}

/** Says what is drawn of a panel. */
export function measure(panel: LoadedPanel, index: number, theme: GrafanaTheme2): PanelReport {
  const { id = 0, type } = panel.cell.panel;
  return {
    id,
    title: panel.title,
    type,
    problems: panel.problems,
    targets: panel.targets,
    marks: marks(panel, index, theme),
    text: (contentOf(index)?.innerText ?? '').trim().slice(0, maxText),
  };
}

function contentOf(index: number): HTMLElement | null {
  return document.querySelector(`[${panelAttribute}="${index}"] [data-content]`);
}

function marks(panel: LoadedPanel, index: number, theme: GrafanaTheme2): number {
  const content = contentOf(index);
  if (!content) {
    return 0;
  }
  switch (panel.cell.panel.type) {
    case 'timeseries':
      return colouredPixels(content, seriesColours(panel.frames, theme));
    case 'table':
      return [...content.querySelectorAll<HTMLElement>('[role="gridcell"]')].filter(({ innerText }) => innerText.trim()).length;
    default:
      return content.innerText.replace(/\s/g, '').length;
  }
}

type Colour = [number, number, number];

function seriesColours(frames: DataFrame[], theme: GrafanaTheme2): Colour[] {
  const fields = frames.flatMap((frame) => frame.fields.filter(({ type }) => type === FieldType.number));
  return fields.map((field) => rgb(getFieldSeriesColor(field, theme).color));
}

function rgb(css: string): Colour {
  const context = new OffscreenCanvas(1, 1).getContext('2d')!;
  context.fillStyle = css;
  context.fillRect(0, 0, 1, 1);
  const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
  return [red, green, blue];
}

/** Pixels of the plot in one of the colours, whatever their opacity: axes and grid have none of them. */
function colouredPixels(content: HTMLElement, colours: Colour[]): number {
  const canvas = content.querySelector('canvas');
  if (!canvas?.width || !canvas.height) {
    return 0;
  }
  const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
  let count = 0;
  for (let i = 0; i < data.length; i += 4) {
    if (data[i + 3] > 64 && colours.some((colour) => isNear(data, i, colour))) {
      count++;
    }
  }
  return count;
}

function isNear(data: Uint8ClampedArray, i: number, [red, green, blue]: Colour): boolean {
  return Math.abs(data[i] - red) + Math.abs(data[i + 1] - green) + Math.abs(data[i + 2] - blue) < 24;
}

import type { FieldConfigSource, GrafanaTheme2, TimeRange } from '@grafana/data';
import type { Panel } from '@grafana/schema';
import { GlobalStyles, Icon, PanelChrome, ThemeContext } from '@grafana/ui';
import { Component, type ReactElement, type ReactNode } from 'react';

import { heightOf } from './layout';
import type { LoadedPanel } from './load';
import { components } from './panels';
import { messageOf } from './report';
import type { Variables } from './variables';

/** The width of the page, and what is left and right of the grid. */
export const pageWidth = 1600;
export const margin = 16;

const headerHeight = 96;

interface PageProps {
  title: string;
  variables: Variables;
  timeRange: TimeRange;
  panels: LoadedPanel[];
  theme: GrafanaTheme2;
}

/** A dashboard as Grafana shows it, without what one clicks at. */
export function Page({ title, variables, timeRange, panels, theme }: PageProps): ReactElement {
  const height = headerHeight + heightOf(panels.map(({ cell }) => cell)) + margin;
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles />
      <main style={{ position: 'relative', width: pageWidth, height, background: theme.colors.background.canvas }}>
        <Header title={title} variables={variables} timeRange={timeRange} theme={theme} />
        {panels.map((panel, index) => (
          <Placed key={index} index={index} panel={panel}>
            <Drawn panel={panel} variables={variables} timeRange={timeRange} />
          </Placed>
        ))}
      </main>
    </ThemeContext.Provider>
  );
}

function Header({ title, variables, timeRange, theme }: Omit<PageProps, 'panels'>): ReactElement {
  const { from, to } = timeRange;
  const format = 'YYYY-MM-DD HH:mm:ss';
  return (
    <header style={{ padding: margin, height: headerHeight }}>
      <div style={{ display: 'flex', justifyContent: 'space-between' }}>
        <h1 style={{ ...theme.typography.h3, margin: 0 }}>{title}</h1>
        <span style={{ color: theme.colors.text.secondary }}>
          {from.utc().format(format)} to {to.utc().format(format)} UTC
        </span>
      </div>
      <div style={{ display: 'flex', gap: 8, paddingTop: 8 }}>
        {variables.visible.map(({ label, text }) => (
          <span key={label} style={{ border: `1px solid ${theme.colors.border.medium}`, borderRadius: 2 }}>
            <span style={{ padding: '4px 8px', background: theme.colors.background.secondary }}>{label}</span>
            <span style={{ padding: '4px 8px' }}>{text}</span>
          </span>
        ))}
      </div>
    </header>
  );
}

/** The attribute by which the panel of a number is found on the page. */
export const panelAttribute = 'data-panel';

function Placed({ index, panel: { cell }, children }: { index: number; panel: LoadedPanel; children: ReactNode }): ReactElement {
  const { left, top, width, height } = cell;
  const style = { position: 'absolute', left: margin + left, top: headerHeight + top, width, height } as const;
  return (
    <section style={style} {...{ [panelAttribute]: index }}>
      {children}
    </section>
  );
}

interface DrawnProps {
  panel: LoadedPanel;
  variables: Variables;
  timeRange: TimeRange;
}

function Drawn({ panel, variables, timeRange }: DrawnProps): ReactElement {
  const { cell, title } = panel;
  if (cell.panel.type === 'row') {
    return <Row title={title} />;
  }
  const { description, fieldConfig, options, transparent, type } = cell.panel as Panel;
  const Content = components[type] ?? Unknown;
  return (
    <PanelChrome
      title={title}
      description={description && variables.inText(description)}
      displayMode={transparent ? 'transparent' : 'default'}
      statusMessage={panel.problems[0] ?? panel.targets.find(({ error }) => error)?.error}
      width={cell.width}
      height={cell.height}
    >
      {(width, height) => (
        <div data-content style={{ width, height }}>
          <Boundary onError={(error) => panel.problems.push(messageOf(error))}>
            <Content
              options={options ?? {}}
              fieldConfig={{ defaults: {}, overrides: [], ...fieldConfig } as FieldConfigSource}
              frames={panel.frames}
              timeRange={timeRange}
              variables={variables}
              width={width}
              height={height}
            />
          </Boundary>
        </div>
      )}
    </PanelChrome>
  );

  function Unknown(): never {
    throw new Error(`panels of type ${type} are not supported`);
  }
}

function Row({ title }: { title: string }): ReactElement {
  return (
    <div data-content style={{ display: 'flex', alignItems: 'center', gap: 8, height: '100%', fontWeight: 500 }}>
      <Icon name="angle-down" />
      {title}
    </div>
  );
}

interface BoundaryProps {
  onError: (error: unknown) => void;
  children: ReactNode;
}

/** Keeps a panel that fails from taking the page with it. */
class Boundary extends Component<BoundaryProps, { failed: boolean }> {
  state = { failed: false };

  static getDerivedStateFromError(): { failed: boolean } {
    return { failed: true };
  }

  componentDidCatch(error: unknown): void {
    this.props.onError(error);
  }

  render(): ReactNode {
    return this.state.failed ? null : this.props.children;
  }
}

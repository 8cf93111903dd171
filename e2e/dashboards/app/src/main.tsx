import { createTheme, dateTime, rangeUtil, type TimeRange } from '@grafana/data';
import type { Dashboard } from '@grafana/schema';
import { createRoot } from 'react-dom/client';

import { layout } from './layout';
import { load } from './load';
import { measure, settled } from './measure';
import { margin, Page, pageWidth } from './page';
import { Prometheus } from './prometheus';
import { register } from './registries';
import { messageOf, type Report } from './report';
import { Variables } from './variables';

declare global {
  interface Window {
    /** Where the components find their icons. */
    __grafana_public_path__: string;
    /** Put there by the tests, which wait for it. */
    settled?: (report: Report) => void;
  }
}

/** Draws the dashboard that the URL names: ?dashboard=FILE&from=SECONDS&to=SECONDS&var-NAME=VALUE */
async function draw(url: URLSearchParams): Promise<Report> {
  const dashboard = await fetchDashboard(url.get('dashboard') ?? '');
  const prometheus = new Prometheus('/prom');
  const scrapeInterval = await prometheus.scrapeInterval();
  const timeRange = timeRangeOf(dashboard, url);
  const span = { from: timeRange.from.valueOf() / 1000, to: timeRange.to.valueOf() / 1000 };
  const variables = await Variables.resolve(dashboard.templating?.list ?? [], prometheus, span, url);
  const context = { prometheus, variables, timeRange, scrapeInterval };

  const theme = createTheme({ colors: { mode: 'dark' } });
  const cells = layout(dashboard.panels ?? [], pageWidth - 2 * margin);
  const panels = await Promise.all(cells.map((cell) => load(cell, context, theme)));
  const title = dashboard.title ?? '';
  document.title = title;
  createRoot(document.getElementById('root')!, {
    // Panels keep what they caught; it is not news for the console.
    onCaughtError: () => undefined,
  }).render(<Page title={title} variables={variables} timeRange={timeRange} panels={panels} theme={theme} />);
  await settled(panels, theme);

  return {
    uid: dashboard.uid ?? '',
    title,
    height: document.querySelector('main')?.offsetHeight ?? 0,
    problems: variables.problems,
    variables: variables.report,
    panels: panels.map((panel, index) => measure(panel, index, theme)),
  };
}

async function fetchDashboard(name: string): Promise<Dashboard> {
  const response = await fetch(`/dashboards/${encodeURIComponent(name)}`);
  if (!response.ok) {
    throw new Error(`dashboard ${name}: status ${response.status}`);
  }
  return response.json();
}

function timeRangeOf(dashboard: Dashboard, url: URLSearchParams): TimeRange {
  const [from, to] = [url.get('from'), url.get('to')].map((seconds) => Number(seconds) * 1000);
  if (from && to) {
    return { from: dateTime(from), to: dateTime(to), raw: { from: dateTime(from), to: dateTime(to) } };
  }
  return rangeUtil.convertRawToRange(dashboard.time ?? { from: 'now-6h', to: 'now' }, 'utc');
}

function failure(thrown: unknown): Report {
  return { uid: '', title: '', height: 0, problems: [messageOf(thrown)], variables: [], panels: [] };
}

window.__grafana_public_path__ = '/';
register();
draw(new URLSearchParams(location.search)).catch(failure).then((report) => window.settled?.(report));

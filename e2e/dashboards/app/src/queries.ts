import {
  type DataFrame,
  type DataTransformerConfig,
  FieldType,
  rangeUtil,
  type TimeRange,
  toDataFrame,
  transformDataFrame,
} from '@grafana/data';
import type { Panel } from '@grafana/schema';

import { durationSeconds, type Prometheus, type Series } from './prometheus';
import { isTransformation } from './registries';
import { messageOf, type TargetReport } from './report';
import type { Variables } from './variables';

/** A query of a panel, as the Prometheus data source stores it. */
export interface Target {
  refId: string;
  expr: string;
  datasource?: { type?: string; uid?: string };
  legendFormat?: string;
  format?: 'time_series' | 'table' | 'heatmap';
  instant?: boolean;
  range?: boolean;
  hide?: boolean;
  /** The least step. */
  interval?: string;
}

/** Where and when queries are asked. */
export interface Context {
  prometheus: Prometheus;
  variables: Variables;
  timeRange: TimeRange;
  /** Seconds. */
  scrapeInterval: number;
}

/** The resolution of a panel. */
export interface Resolution {
  maxDataPoints: number;
  minInterval?: string;
}

export interface Answer {
  report: TargetReport;
  frames: DataFrame[];
}

/** More points than this are refused by Prometheus. */
const maxPoints = 11_000;

/** Asks one target, and never throws: what goes wrong is in the report. */
export async function ask(target: Target, siblings: number, resolution: Resolution, context: Context): Promise<Answer> {
  const report: TargetReport = { refId: target.refId, expr: target.expr, series: 0, values: 0, error: '' };
  try {
    context.variables.checkDatasource(target.datasource);
    const step = stepOf(target, resolution, context);
    report.expr = context.variables.inQuery(target.expr, intervals(step, target, context));
    const series = await fetchSeries(target, report.expr, step, context);
    report.series = series.length;
    report.values = series.flatMap(({ values }) => values).filter(Number.isFinite).length;
    checkLegend(target, series);
    return { report, frames: framesOf(target, siblings, series, step) };
  } catch (thrown) {
    report.error = messageOf(thrown);
    return { report, frames: [] };
  }
}

function span({ timeRange }: Context) {
  return { from: timeRange.from.valueOf() / 1000, to: timeRange.to.valueOf() / 1000 };
}

function fetchSeries(target: Target, expr: string, step: number, context: Context): Promise<Series[]> {
  if (target.instant && target.range) {
    throw new Error('a target is either instant or a range, not both');
  }
  if (target.instant) {
    return context.prometheus.instant(expr, span(context).to);
  }
  return context.prometheus.range(expr, span(context), step);
}

/** The step in seconds. */
function stepOf(target: Target, { maxDataPoints, minInterval }: Resolution, context: Context): number {
  const least = target.interval || minInterval || `${context.scrapeInterval * 1000}ms`;
  const { from, to } = span(context);
  const { intervalMs } = rangeUtil.calculateInterval(context.timeRange, maxDataPoints, least);
  return Math.max(intervalMs / 1000, (to - from) / maxPoints);
}

/** Grafana's own variables of time. */
function intervals(step: number, target: Target, context: Context): Record<string, string> {
  const scrape = target.interval ? durationSeconds(target.interval) : context.scrapeInterval;
  const { from, to } = span(context);
  return {
    __interval: duration(step),
    __interval_ms: String(Math.round(step * 1000)),
    // Room for four scrapes at least, and for one before the step.
    __rate_interval: duration(Math.max(step + scrape, 4 * scrape)),
    __range: duration(Math.round(to - from)),
    __range_s: String(Math.round(to - from)),
    __range_ms: String(Math.round((to - from) * 1000)),
  };
}

function duration(seconds: number): string {
  return Number.isInteger(seconds) ? `${seconds}s` : `${Math.round(seconds * 1000)}ms`;
}

const legendLabel = /\{\{\s*(.+?)\s*\}\}/g;

/** A label that no series has leaves a hole in every line of the legend. */
function checkLegend({ legendFormat = '' }: Target, series: Series[]): void {
  for (const [, label] of legendFormat.matchAll(legendLabel)) {
    if (series.length > 0 && !series.some(({ labels }) => label in labels)) {
      throw new Error(`the legend names the label ${label}, which no series has`);
    }
  }
}

/** The name of a series; none lets Grafana make one of the labels. */
function nameOf({ legendFormat, expr }: Target, labels: Record<string, string>): string | undefined {
  if (legendFormat === '__auto') {
    return Object.keys(labels).length > 0 ? undefined : expr;
  }
  if (legendFormat) {
    return legendFormat.replace(legendLabel, (_, label: string) => labels[label] ?? '');
  }
  const { __name__: metric = '', ...rest } = labels;
  const pairs = Object.entries(rest).map(([label, value]) => `${label}="${value}"`);
  return metric || pairs.length ? `${metric}{${pairs.join(', ')}}` : expr;
}

function framesOf(target: Target, siblings: number, series: Series[], step: number): DataFrame[] {
  switch (target.format ?? 'time_series') {
    case 'time_series':
      return series.map((one) => timeSeriesFrame(target, one, step));
    case 'table':
      return series.length ? [tableFrame(target, siblings, series)] : [];
    default:
      throw new Error(`the format ${target.format} is not supported`);
  }
}

function timeSeriesFrame(target: Target, { labels, times, values }: Series, step: number): DataFrame {
  const name = nameOf(target, labels);
  return toDataFrame({
    refId: target.refId,
    name,
    fields: [
      // From the interval Grafana knows where samples are missing.
      { name: 'Time', type: FieldType.time, values: times, config: { interval: step * 1000 } },
      { name: 'Value', type: FieldType.number, values, labels, config: { displayNameFromDS: name } },
    ],
  });
}

/** All series in one table, with a column for each label. */
function tableFrame(target: Target, siblings: number, series: Series[]): DataFrame {
  const labels = [...new Set(series.flatMap((one) => Object.keys(one.labels)))].sort();
  return toDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: series.flatMap(({ times }) => times) },
      ...labels.map((label) => ({
        name: label,
        type: FieldType.string,
        config: { filterable: true },
        values: series.flatMap((one) => one.values.map(() => one.labels[label] ?? '')),
      })),
      {
        name: siblings > 1 ? `Value #${target.refId}` : 'Value',
        type: FieldType.number,
        values: series.flatMap(({ values }) => values),
      },
    ],
  });
}

/** Applies the transformations of a panel. */
export function transform({ transformations = [] }: Panel, frames: DataFrame[], variables: Variables): Promise<DataFrame[]> {
  // The two packages spell one enum in two ways.
  const configs = transformations as DataTransformerConfig[];
  const unknown = configs.find(({ id }) => !isTransformation(id));
  if (unknown) {
    throw new Error(`there is no transformation ${unknown.id}`);
  }
  return new Promise((next, error) => {
    const context = { interpolate: (text: string) => variables.inText(text) };
    transformDataFrame(configs, frames, context).subscribe({ next, error });
  });
}

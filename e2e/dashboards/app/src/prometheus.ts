/** The HTTP API of a Prometheus server. */

/** A series of an instant query has one sample, of a range query one a step. */
export interface Series {
  labels: Record<string, string>;
  /** Milliseconds. */
  times: number[];
  values: number[];
}

/** Seconds. */
export interface Span {
  from: number;
  to: number;
}

export class Prometheus {
  constructor(
    private readonly base: string,
    private readonly timeoutMs = 20_000
  ) {}

  /** How often it scrapes, in seconds: what one would write into the settings of the data source. */
  async scrapeInterval(): Promise<number> {
    const { yaml } = await this.get<{ yaml: string }>('status/config', {});
    const found = /^ {2}scrape_interval: (\S+)$/m.exec(yaml);
    if (!found) {
      throw new Error('the configuration of Prometheus has no scrape_interval');
    }
    return durationSeconds(found[1]);
  }

  async labelValues(label: string, matcher: string, span: Span): Promise<string[]> {
    const params: Record<string, string> = { start: String(span.from), end: String(span.to) };
    if (matcher) {
      params['match[]'] = matcher;
    }
    return this.get(`label/${encodeURIComponent(label)}/values`, params);
  }

  async instant(query: string, time: number): Promise<Series[]> {
    return seriesOf(await this.get('query', { query, time: String(time) }));
  }

  async range(query: string, span: Span, step: number): Promise<Series[]> {
    // Whole steps, so that the same moments are asked for however often a page is loaded.
    const start = Math.floor(span.from / step) * step;
    const end = Math.floor(span.to / step) * step;
    const params = { query, start: String(start), end: String(end), step: String(step) };
    return seriesOf(await this.get('query_range', params));
  }

  private async get<T>(path: string, params: Record<string, string>): Promise<T> {
    const url = `${this.base}/api/v1/${path}?${new URLSearchParams(params)}`;
    const response = await fetch(url, { signal: AbortSignal.timeout(this.timeoutMs) });
    const body = await response.text();
    if (!response.headers.get('Content-Type')?.startsWith('application/json')) {
      throw new Error(`${path}: status ${response.status}: ${body.slice(0, 200)}`);
    }
    const answer: { status: string; data: T; errorType?: string; error?: string } = JSON.parse(body);
    if (answer.status !== 'success') {
      throw new Error(`${answer.errorType}: ${answer.error}`);
    }
    return answer.data;
  }
}

type Sample = [number, string];

interface Result {
  resultType: string;
  result: Array<{ metric: Record<string, string>; value?: Sample; values?: Sample[] }> | Sample;
}

function seriesOf({ resultType, result }: Result): Series[] {
  switch (resultType) {
    case 'vector':
    case 'matrix':
      return (result as Exclude<Result['result'], Sample>).map(({ metric, value, values }) =>
        makeSeries(metric, values ?? (value ? [value] : []))
      );
    case 'scalar':
      return [makeSeries({}, [result as Sample])];
    default:
      throw new Error(`the result is a ${resultType}, which no panel can show`);
  }
}

function makeSeries(labels: Record<string, string>, samples: Sample[]): Series {
  return { labels, times: samples.map(([time]) => time * 1000), values: samples.map(([, value]) => numberOf(value)) };
}

function numberOf(text: string): number {
  switch (text) {
    case '+Inf':
      return Infinity;
    case '-Inf':
      return -Infinity;
    default:
      return Number(text);
  }
}

const unitSeconds: Record<string, number> = { y: 31_536_000, w: 604_800, d: 86_400, h: 3600, m: 60, s: 1, ms: 0.001 };

/** Reads a duration as Prometheus writes it, such as 1m30s. */
export function durationSeconds(text: string): number {
  if (!/^(\d+(ms|[ywdhms]))+$/.test(text)) {
    throw new Error(`${text} is not a duration`);
  }
  let seconds = 0;
  for (const [, count, unit] of text.matchAll(/(\d+)(ms|[ywdhms])/g)) {
    seconds += Number(count) * unitSeconds[unit];
  }
  return seconds;
}

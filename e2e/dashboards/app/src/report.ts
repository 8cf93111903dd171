/** What a page says of itself when all is drawn. The tests read it. */
export interface Report {
  uid: string;
  title: string;
  /** Height of the whole page in pixels. */
  height: number;
  /** What is wrong with the dashboard as a whole. */
  problems: string[];
  variables: VariableReport[];
  panels: PanelReport[];
}

export interface VariableReport {
  name: string;
  /** What was chosen, as queries get it. */
  value: string;
  /** All there is to choose from. */
  options: string[];
}

export interface PanelReport {
  id: number;
  title: string;
  type: string;
  /** What is wrong with the panel, besides its targets. */
  problems: string[];
  targets: TargetReport[];
  /**
   * How much is drawn: pixels in the colours of the series for time series, filled cells for tables, and
   * characters for everything else.
   */
  marks: number;
  /** The text that is seen, without the title. */
  text: string;
}

export interface TargetReport {
  refId: string;
  /** The query as Prometheus got it. */
  expr: string;
  series: number;
  /** How many samples are neither NaN nor infinite. */
  values: number;
  error: string;
}

/** The message of whatever was thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

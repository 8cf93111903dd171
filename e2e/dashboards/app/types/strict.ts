/**
 * A dashboard as it may be: @grafana/schema leaves the options of a panel and its queries open, since they belong to
 * plugins. Here they are those of the few types of panel that the dashboards are made of, and nothing else.
 */
import type {
  Dashboard,
  FieldConfig,
  GraphFieldConfig,
  Panel,
  RowPanel,
  TableFieldOptions,
  VariableModel,
} from '@grafana/schema';
import type { Options as BarGaugeOptions } from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type { Options as StatOptions } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type { Options as TableOptions } from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type { Options as TextOptions } from '@grafana/schema/dist/esm/raw/composable/text/panelcfg/x/TextPanelCfg_types.gen';
import type { Options as TimeSeriesOptions } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

/** The type as JSON has it: parts may be missing, and a string stands for a member of an enum. */
type JSONOf<T> = T extends (infer Item)[]
  ? JSONOf<Item>[]
  : T extends object
    ? { [Key in keyof T]?: JSONOf<T[Key]> }
    : T extends number
      ? T
      : T extends string
        ? `${T}`
        : T;

interface DataSource {
  type: 'prometheus';
  uid: '${datasource}';
}

interface Target {
  datasource: DataSource;
  refId: string;
  expr: string;
  legendFormat?: string;
  format?: 'time_series' | 'table';
  instant?: boolean;
  range?: boolean;
  interval?: string;
}

/** An override of one property, whose value has the property's type. */
type Property<Config> = { [Key in keyof Config & string]-?: { id: Key; value: Config[Key] } }[keyof Config & string];
type CustomProperty<Config> = {
  [Key in keyof Config & string]-?: { id: `custom.${Key}`; value: Config[Key] };
}[keyof Config & string];

type StandardConfig = JSONOf<Omit<FieldConfig, 'custom' | 'links'>> & { links?: Array<{ title: string; url: string; targetBlank?: boolean }> };

interface Override<Custom> {
  matcher:
    | { id: 'byName' | 'byRegexp' | 'byType' | 'byFrameRefID'; options: string }
    | { id: 'byNames'; options: { mode: 'include' | 'exclude'; names: string[]; prefix?: string; readOnly?: boolean } };
  properties: Array<Property<StandardConfig> | CustomProperty<JSONOf<Custom>>>;
}

interface Common extends Omit<Panel, 'type' | 'options' | 'fieldConfig' | 'targets' | 'datasource' | 'transformations'> {
  id: number;
  title: string;
  description?: string;
}

interface QueryPanel<Type extends string, Options, Custom> extends Common {
  type: Type;
  datasource: DataSource;
  targets: Target[];
  options: JSONOf<Options>;
  fieldConfig: { defaults: StandardConfig & { custom?: JSONOf<Custom> }; overrides: Override<Custom>[] };
  transformations?: Array<{ id: string; options: Record<string, unknown> }>;
}

interface TextPanel extends Common {
  type: 'text';
  options: JSONOf<TextOptions>;
}

type Nothing = Record<never, never>;

type ContentPanel =
  | QueryPanel<'timeseries', TimeSeriesOptions, GraphFieldConfig>
  | QueryPanel<'stat', StatOptions, Nothing>
  | QueryPanel<'bargauge', BarGaugeOptions, Nothing>
  | QueryPanel<'table', TableOptions, TableFieldOptions>
  | TextPanel;

interface Row extends Omit<RowPanel, 'panels' | 'datasource'> {
  title: string;
  panels: ContentPanel[];
}

interface DataSourceVariable extends Omit<JSONOf<VariableModel>, 'type' | 'query' | 'name'> {
  type: 'datasource';
  name: 'datasource';
  query: 'prometheus';
}

interface QueryVariable extends Omit<JSONOf<VariableModel>, 'type' | 'query' | 'name' | 'datasource'> {
  type: 'query';
  name: string;
  datasource: DataSource;
  query: string | { query: string; refId: string; qryType?: number };
}

export interface StrictDashboard extends Omit<JSONOf<Dashboard>, 'panels' | 'templating' | 'uid' | 'title' | 'schemaVersion'> {
  uid: string;
  title: string;
  schemaVersion: number;
  panels: Array<ContentPanel | Row>;
  templating: { list: Array<DataSourceVariable | QueryVariable> };
}

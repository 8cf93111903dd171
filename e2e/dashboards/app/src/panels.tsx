/** One component for each type of panel, made of those of @grafana/ui. */
import {
  type DataFrame,
  type DisplayValueAlignmentFactors,
  type FieldConfigSource,
  type FieldDisplay,
  FieldType,
  getDisplayValueAlignmentFactors,
  getFieldDisplayValues,
  type GrafanaTheme2,
  renderTextPanelMarkdown,
  type TimeRange,
  VizOrientation,
} from '@grafana/data';
import {
  type BarGaugeDisplayMode,
  type BarGaugeNamePlacement,
  type BarGaugeValueMode,
  type BigValueColorMode,
  type BigValueGraphMode,
  type BigValueJustifyMode,
  type BigValueTextMode,
  type PercentChangeColorMode,
  type SingleStatBaseOptions,
  TableCellHeight,
  type TableSortByFieldState,
  type VizLegendOptions,
} from '@grafana/schema';
import { BarGauge, BigValue, TimeSeries, useTheme2, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import type { ComponentType, ReactElement } from 'react';

import type { Variables } from './variables';

export interface PanelProps {
  options: Record<string, unknown>;
  fieldConfig: FieldConfigSource;
  frames: DataFrame[];
  timeRange: TimeRange;
  variables: Variables;
  width: number;
  height: number;
}

/** The component of each type of panel that can be drawn. */
export const components: Record<string, ComponentType<PanelProps>> = {
  timeseries: TimeSeriesPanel,
  stat: StatPanel,
  bargauge: BarGaugePanel,
  table: TablePanel,
  text: TextPanel,
};

function TimeSeriesPanel({ options, fieldConfig, frames, timeRange, width, height }: PanelProps): ReactElement {
  const legend = { showLegend: true, displayMode: 'list', placement: 'bottom', calcs: [], ...(options.legend as object) };
  if (!frames.some(({ length }) => length > 0)) {
    return <NoData text={fieldConfig.defaults.noValue} />;
  }
  return (
    <TimeSeries
      frames={frames.map(finite)}
      timeRange={timeRange}
      timeZone="utc"
      width={width}
      height={height}
      legend={legend as VizLegendOptions}
    />
  );
}

/** A plot breaks its lines at null only. */
function finite(frame: DataFrame): DataFrame {
  const fields = frame.fields.map((field) =>
    field.type === FieldType.number
      ? { ...field, values: field.values.map((value) => (Number.isFinite(value) ? value : null)) }
      : field
  );
  return { ...frame, fields };
}

function NoData({ text = 'No data' }: { text?: string }): ReactElement {
  return <div style={{ display: 'flex', height: '100%', alignItems: 'center', justifyContent: 'center' }}>{text}</div>;
}

interface StatOptions extends SingleStatBaseOptions {
  colorMode: BigValueColorMode;
  graphMode: BigValueGraphMode;
  justifyMode: BigValueJustifyMode;
  percentChangeColorMode: PercentChangeColorMode;
  showPercentChange: boolean;
  textMode: BigValueTextMode;
  wideLayout: boolean;
}

const reduceOptions = { calcs: ['lastNotNull'], fields: '', values: false };

function StatPanel(props: PanelProps): ReactElement {
  const theme = useTheme2();
  const options = {
    colorMode: 'value',
    graphMode: 'area',
    justifyMode: 'auto',
    orientation: 'auto',
    percentChangeColorMode: 'standard',
    reduceOptions,
    showPercentChange: false,
    textMode: 'auto',
    wideLayout: true,
    ...props.options,
  } as StatOptions;
  const sparkline = options.graphMode !== 'none';
  const values = displayValues(props, options, theme, { sparkline, percentChange: options.showPercentChange });
  return (
    <Repeated
      {...props}
      orientation={options.orientation}
      values={values}
      autoGrid
      itemSpacing={3}
      render={(value, width, height, alignmentFactors) => (
        <BigValue
          {...options}
          value={value.display}
          sparkline={value.sparkline && { ...value.sparkline, timeRange: props.timeRange }}
          count={values.length}
          disableWideLayout={!options.wideLayout}
          alignmentFactors={alignmentFactors}
          theme={theme}
          width={width}
          height={height}
        />
      )}
    />
  );
}

interface BarGaugeOptions extends SingleStatBaseOptions {
  displayMode: BarGaugeDisplayMode;
  minVizHeight: number;
  minVizWidth: number;
  maxVizHeight: number;
  namePlacement: BarGaugeNamePlacement;
  showUnfilled: boolean;
  valueMode: BarGaugeValueMode;
}

function BarGaugePanel(props: PanelProps): ReactElement {
  const theme = useTheme2();
  const options = {
    displayMode: 'gradient',
    maxVizHeight: 300,
    minVizHeight: 16,
    minVizWidth: 8,
    namePlacement: 'auto',
    orientation: 'auto',
    reduceOptions,
    showUnfilled: true,
    valueMode: 'color',
    ...props.options,
  } as BarGaugeOptions;
  return (
    <Repeated
      {...props}
      {...options}
      values={displayValues(props, options, theme, {})}
      itemSpacing={10}
      render={(value, width, height, alignmentFactors, orientation) => (
        <BarGauge
          {...options}
          value={value.display}
          field={value.field}
          display={value.view?.getFieldDisplayProcessor(value.colIndex ?? 0)}
          valueDisplayMode={options.valueMode}
          alignmentFactors={alignmentFactors}
          orientation={orientation}
          itemSpacing={10}
          lcdCellWidth={12}
          theme={theme}
          width={width}
          height={height}
        />
      )}
    />
  );
}

function displayValues(
  { fieldConfig, frames, variables }: PanelProps,
  { reduceOptions }: SingleStatBaseOptions,
  theme: GrafanaTheme2,
  more: { sparkline?: boolean; percentChange?: boolean }
): FieldDisplay[] {
  const replaceVariables = (text: string) => variables.inText(text);
  return getFieldDisplayValues({ fieldConfig, reduceOptions, replaceVariables, theme, data: frames, timeZone: 'utc', ...more });
}

interface RepeatedProps {
  values: FieldDisplay[];
  width: number;
  height: number;
  orientation: VizOrientation;
  autoGrid?: boolean;
  itemSpacing: number;
  minVizHeight?: number;
  minVizWidth?: number;
  maxVizHeight?: number;
  render: (
    value: FieldDisplay,
    width: number,
    height: number,
    alignmentFactors: DisplayValueAlignmentFactors,
    orientation: VizOrientation
  ) => ReactElement;
}

/** Draws each value side by side or one below the other. */
function Repeated({ values, render, ...rest }: RepeatedProps): ReactElement {
  return (
    <VizRepeater<FieldDisplay, DisplayValueAlignmentFactors>
      {...rest}
      source={values}
      renderCounter={0}
      getValues={() => values}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      renderValue={({ value, width, height, alignmentFactors, orientation }) =>
        render(value, width, height, alignmentFactors, orientation)
      }
    />
  );
}

interface TablePanelOptions {
  showHeader?: boolean;
  cellHeight?: TableCellHeight;
  sortBy?: TableSortByFieldState[];
  enablePagination?: boolean;
  frozenColumns?: { left?: number };
}

function TablePanel({ options, fieldConfig, frames, timeRange, width, height }: PanelProps): ReactElement {
  const { showHeader = true, cellHeight = TableCellHeight.Sm, sortBy, enablePagination, frozenColumns } = options as TablePanelOptions;
  if (!frames.some(({ length }) => length > 0)) {
    return <NoData text={fieldConfig.defaults.noValue} />;
  }
  if (frames.length > 1) {
    throw new Error(`a table shows one frame, but there are ${frames.length}: merge them`);
  }
  return (
    <TableNG
      data={frames[0]}
      fieldConfig={fieldConfig}
      timeRange={timeRange}
      noHeader={!showHeader}
      cellHeight={cellHeight}
      sortBy={sortBy}
      enablePagination={enablePagination}
      frozenColumns={frozenColumns?.left}
      width={width}
      height={height}
    />
  );
}

function TextPanel({ options, variables }: PanelProps): ReactElement {
  if (options.mode !== 'markdown') {
    throw new Error(`text in the mode ${String(options.mode)} is not supported`);
  }
  const html = renderTextPanelMarkdown(variables.inText(String(options.content ?? '')));
  return <div className="markdown-html" dangerouslySetInnerHTML={{ __html: html }} />;
}

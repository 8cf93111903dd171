/** What the Grafana server's front end registers at its start, and @grafana/data looks up. */
import {
  dataLinksOverrideProcessor,
  displayNameOverrideProcessor,
  FieldConfigOptionsRegistry,
  type FieldConfigPropertyItem,
  identityOverrideProcessor,
  numberOverrideProcessor,
  standardFieldConfigEditorRegistry,
  standardTransformers,
  standardTransformersRegistry,
  thresholdsOverrideProcessor,
  valueMappingsOverrideProcessor,
} from '@grafana/data';
import type { GraphFieldConfig, TableFieldOptions } from '@grafana/schema';

type Process = FieldConfigPropertyItem['process'];

const standard: Record<string, { process: Process; settings?: object }> = {
  unit: { process: identityOverrideProcessor },
  min: { process: numberOverrideProcessor },
  max: { process: numberOverrideProcessor },
  fieldMinMax: { process: identityOverrideProcessor },
  decimals: { process: numberOverrideProcessor },
  displayName: { process: displayNameOverrideProcessor, settings: { expandTemplateVars: true } },
  description: { process: identityOverrideProcessor },
  noValue: { process: identityOverrideProcessor },
  thresholds: { process: thresholdsOverrideProcessor },
  mappings: { process: valueMappingsOverrideProcessor },
  links: { process: dataLinksOverrideProcessor },
  color: { process: identityOverrideProcessor },
  filterable: { process: identityOverrideProcessor },
};

// Written as objects so that the compiler says when one is missing or does not exist.
const timeSeries: Record<keyof GraphFieldConfig, true> = {
  axisBorderShow: true,
  axisCenteredZero: true,
  axisColorMode: true,
  axisGridShow: true,
  axisLabel: true,
  axisPlacement: true,
  axisSoftMax: true,
  axisSoftMin: true,
  axisWidth: true,
  barAlignment: true,
  barMaxWidth: true,
  barWidthFactor: true,
  drawStyle: true,
  fillBelowTo: true,
  fillColor: true,
  fillOpacity: true,
  gradientMode: true,
  hideFrom: true,
  insertNulls: true,
  lineColor: true,
  lineInterpolation: true,
  lineStyle: true,
  lineWidth: true,
  pointColor: true,
  pointSize: true,
  pointSymbol: true,
  scaleDistribution: true,
  showPoints: true,
  showValues: true,
  spanNulls: true,
  stacking: true,
  thresholdsStyle: true,
  transform: true,
};

const table: Record<keyof TableFieldOptions, true> = {
  align: true,
  cellOptions: true,
  displayMode: true,
  filterable: true,
  footer: true,
  hideFrom: true,
  hideHeader: true,
  inspect: true,
  minWidth: true,
  sortable: true,
  styleField: true,
  tooltip: true,
  width: true,
  wrapHeaderText: true,
  wrapText: true,
};

const custom: Record<string, Record<string, true>> = { timeseries: timeSeries, table };

function property(id: string, path: string, process: Process, more: object = {}): FieldConfigPropertyItem {
  const none = () => null; // nothing is edited here
  return { id, path, name: id, editor: none, override: none, process, shouldApply: () => true, ...more };
}

function standardProperties(): FieldConfigPropertyItem[] {
  return Object.entries(standard).map(([id, { process, ...more }]) => property(id, id, process, more));
}

/** The properties that the field configuration of a type of panel can have. */
export function fieldConfigRegistry(type: string): FieldConfigOptionsRegistry {
  return new FieldConfigOptionsRegistry(() => [
    ...standardProperties(),
    ...Object.keys(custom[type] ?? {}).map((key) =>
      property(`custom.${key}`, key, identityOverrideProcessor, { isCustom: true })
    ),
  ]);
}

/** Whether there is a transformation of this name. */
export function isTransformation(id: string): boolean {
  return standardTransformersRegistry.getIfExists(id) !== undefined;
}

/** Fills the registries. Call it once, before anything else. */
export function register(): void {
  standardFieldConfigEditorRegistry.setInit(standardProperties);
  // One of them is listed under two names.
  const transformers = [...new Set(Object.values(standardTransformers))];
  standardTransformersRegistry.setInit(() =>
    transformers.map((info) => ({
      id: info.id,
      name: info.name,
      transformation: () => Promise.resolve(info),
      editor: () => null,
      imageDark: '',
      imageLight: '',
    }))
  );
}

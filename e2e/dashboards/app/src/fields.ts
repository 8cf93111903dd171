/** How the fields of a panel are shown: units, thresholds, mappings, colours, overrides. */
import {
  applyFieldOverrides,
  cacheFieldDisplayNames,
  type DataFrame,
  type Field,
  type FieldConfig,
  type FieldConfigSource,
  fieldMatchers,
  type GrafanaTheme2,
  getFieldDisplayName,
  getValueFormatterIndex,
  type ScopedVars,
  ThresholdsMode,
} from '@grafana/data';
import type { Panel } from '@grafana/schema';

import { fieldConfigRegistry } from './registries';
import type { Variables } from './variables';

/** What every panel has where the dashboard says nothing. */
const commonDefaults: FieldConfig = {
  thresholds: {
    mode: ThresholdsMode.Absolute,
    steps: [
      { color: 'green', value: -Infinity },
      { color: 'red', value: 80 },
    ],
  },
};

/** The same for types of panel that have more. */
const defaults: Record<string, FieldConfig> = {
  timeseries: {
    color: { mode: 'palette-classic' },
    custom: {
      axisBorderShow: false,
      axisCenteredZero: false,
      axisColorMode: 'text',
      axisLabel: '',
      axisPlacement: 'auto',
      barAlignment: 0,
      barWidthFactor: 0.6,
      drawStyle: 'line',
      fillOpacity: 0,
      gradientMode: 'none',
      insertNulls: false,
      lineInterpolation: 'linear',
      lineWidth: 1,
      pointSize: 5,
      scaleDistribution: { type: 'linear' },
      showPoints: 'auto',
      spanNulls: false,
      stacking: { mode: 'none', group: 'A' },
      thresholdsStyle: { mode: 'off' },
    },
  },
  table: { custom: { align: 'auto', cellOptions: { type: 'auto' }, inspect: false } },
};

/** Sets the display of every field, and names what Grafana would pass over in silence. */
export function applyFieldConfig(panel: Panel, frames: DataFrame[], variables: Variables, theme: GrafanaTheme2): DataFrame[] {
  const given = sourceOf(panel);
  check(panel.type, given);
  const fieldConfig: FieldConfigSource = {
    defaults: {
      ...commonDefaults,
      ...defaults[panel.type],
      ...given.defaults,
      custom: { ...defaults[panel.type]?.custom, ...given.defaults.custom },
    },
    overrides: given.overrides,
  };
  const shown = applyFieldOverrides({
    data: frames,
    fieldConfig,
    fieldConfigRegistry: fieldConfigRegistry(panel.type),
    replaceVariables: (text, scoped) => variables.inText(inField(text, scoped)),
    theme,
    timeZone: 'utc',
  });
  cacheFieldDisplayNames(shown); // tables look nowhere else
  return shown;
}

function sourceOf(panel: Panel): FieldConfigSource {
  const { defaults = {}, overrides = [] } = panel.fieldConfig ?? {};
  return { defaults, overrides } as FieldConfigSource;
}

/** Replaces what refers to the field itself: ${__field.labels.name}, ${__field.name} and ${__field.displayName}. */
function inField(text: string, scoped: ScopedVars | undefined): string {
  const context = scoped?.__dataContext?.value as { field: Field; frame: DataFrame; data: DataFrame[] } | undefined;
  if (!context) {
    return text;
  }
  const { field, frame, data } = context;
  return text.replace(/\$\{__field\.(?:labels\.(\w+)|(name|displayName))\}/g, (_, label?: string, property?: string) => {
    if (label) {
      return field.labels?.[label] ?? '';
    }
    return property === 'name' ? field.name : getFieldDisplayName(field, frame, data);
  });
}

function check(type: string, { defaults, overrides }: FieldConfigSource): void {
  const registry = fieldConfigRegistry(type);
  const known = (id: string) => {
    if (!registry.getIfExists(id)) {
      throw new Error(`a ${type} panel has no property ${id}`);
    }
  };
  Object.keys(defaults).filter((id) => id !== 'custom').forEach(known);
  Object.keys(defaults.custom ?? {}).forEach((key) => known(`custom.${key}`));
  checkUnit(defaults.unit);
  for (const { matcher, properties } of overrides) {
    if (!fieldMatchers.getIfExists(matcher.id)) {
      throw new Error(`there is no matcher ${matcher.id}`);
    }
    for (const { id, value } of properties) {
      known(id);
      if (id === 'unit') {
        checkUnit(value);
      }
    }
  }
}

/** Grafana would write an unknown unit behind the number. */
function checkUnit(unit: string | undefined): void {
  const free = /^(prefix|suffix|time|si|count|currency|bool):./;
  if (unit && !free.test(unit) && !(unit in getValueFormatterIndex())) {
    throw new Error(`there is no unit ${unit}`);
  }
}

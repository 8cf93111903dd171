import type { DataFrame, GrafanaTheme2 } from '@grafana/data';
import type { Panel, RowPanel } from '@grafana/schema';

import { applyFieldConfig } from './fields';
import type { Cell } from './layout';
import { ask, type Context, type Target, transform } from './queries';
import { messageOf, type TargetReport } from './report';

/** A panel with everything that is needed to draw it. */
export interface LoadedPanel {
  cell: Cell;
  title: string;
  frames: DataFrame[];
  targets: TargetReport[];
  /** What is wrong; drawing adds to it. */
  problems: string[];
}

/** The options of panels that change what is asked for, and that this page does not know. */
const unsupported = ['repeat', 'timeFrom', 'timeShift', 'timeCompare', 'libraryPanel', 'cacheTimeout'] as const;

/** Asks the queries of a panel and prepares what they return. Never throws. */
export async function load(cell: Cell, context: Context, theme: GrafanaTheme2): Promise<LoadedPanel> {
  const { panel } = cell;
  const loaded: LoadedPanel = {
    cell,
    title: context.variables.inText(panel.title ?? ''),
    frames: [],
    targets: [],
    problems: [],
  };
  try {
    checkSupported(panel);
    if (isPanel(panel) && panel.type !== 'text') {
      await query(panel, loaded, context, theme);
    }
  } catch (thrown) {
    loaded.problems.push(messageOf(thrown));
  }
  return loaded;
}

function isPanel(panel: Panel | RowPanel): panel is Panel {
  return panel.type !== 'row';
}

function checkSupported(panel: Panel | RowPanel): void {
  for (const key of unsupported) {
    if (key in panel && (panel as Panel)[key as keyof Panel]) {
      throw new Error(`the option ${key} is not supported`);
    }
  }
}

async function query(panel: Panel, loaded: LoadedPanel, context: Context, theme: GrafanaTheme2): Promise<void> {
  const targets = ((panel.targets ?? []) as unknown as Target[]).filter(({ hide }) => !hide);
  if (targets.length === 0) {
    throw new Error('it asks nothing');
  }
  const resolution = { maxDataPoints: panel.maxDataPoints ?? loaded.cell.width, minInterval: panel.interval };
  const answers = await Promise.all(
    targets.map((target) =>
      ask({ ...target, datasource: target.datasource ?? panel.datasource }, targets.length, resolution, context)
    )
  );
  loaded.targets = answers.map(({ report }) => report);
  const frames = answers.flatMap((answer) => answer.frames);
  const transformed = await transform(panel, frames, context.variables);
  loaded.frames = applyFieldConfig(panel, transformed, context.variables, theme);
}

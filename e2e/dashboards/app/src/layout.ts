import type { Panel, RowPanel } from '@grafana/schema';

/** A panel and where it is on the page, in pixels. */
export interface Cell {
  panel: Panel | RowPanel;
  left: number;
  top: number;
  width: number;
  height: number;
}

// The grid of Grafana.
const columns = 24;
const rowHeight = 30;
const gap = 8;

/** Puts the panels where Grafana does. Rows are shown expanded, whatever the dashboard says. */
export function layout(panels: Array<Panel | RowPanel>, width: number): Cell[] {
  return expanded(panels).map((panel) => {
    const { x, y, w, h } = panel.gridPos ?? { x: 0, y: 0, w: columns, h: 1 };
    const column = (width + gap) / columns;
    return {
      panel,
      left: Math.round(x * column),
      top: y * (rowHeight + gap),
      width: Math.round(w * column) - gap,
      height: h * (rowHeight + gap) - gap,
    };
  });
}

/** The height of the grid. */
export function heightOf(cells: Cell[]): number {
  return Math.max(0, ...cells.map(({ top, height }) => top + height));
}

function isRow(panel: Panel | RowPanel): panel is RowPanel {
  return panel.type === 'row';
}

/** Takes the panels out of their collapsed rows, and moves what is below down. */
function expanded(panels: Array<Panel | RowPanel>): Array<Panel | RowPanel> {
  let moved = 0;
  return panels.flatMap((panel) => {
    const inside = isRow(panel) ? (panel.panels ?? []) : [];
    const placed = [panel, ...inside].map((one) => down(one, moved));
    const bottom = (one: Panel | RowPanel) => (one.gridPos?.y ?? 0) + (one.gridPos?.h ?? 1);
    moved += Math.max(0, ...inside.map((one) => bottom(one) - bottom(panel)));
    return placed;
  });
}

function down<P extends Panel | RowPanel>(panel: P, rows: number): P {
  return panel.gridPos ? { ...panel, gridPos: { ...panel.gridPos, y: panel.gridPos.y + rows } } : panel;
}

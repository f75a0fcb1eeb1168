import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, test } from 'vitest';
import { parse } from 'yaml';

import { metricFamilies } from '../../src/metrics/metric-families.ts';
import { root } from '../support/source-files.ts';
import { hasTool, runTool } from '../support/tools.ts';

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string }[];
}
interface Dashboard {
  readonly panels: readonly Panel[];
  readonly annotations: { readonly list: readonly { readonly expr: string }[] };
  readonly templating: { readonly list: readonly { readonly query: string }[] };
}
interface Rules {
  readonly groups: readonly { readonly rules: readonly Alert[] }[];
}
interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly annotations: { readonly summary: string; readonly runbook: string };
}

const read = (file: string): string => readFileSync(`${root}deploy/${file}`, 'utf8');
const dashboard = JSON.parse(read('grafana/slotcast.json')) as Dashboard;
const alerts = (parse(read('prometheus/slotcast.rules.yml')) as Rules).groups.flatMap(({ rules }) => rules);
const expressions = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));

/** The names of series that there are, with their labels. */
const series = new Map(
  metricFamilies.flatMap(({ name, type, labels }): [string, readonly string[]][] =>
    type === 'histogram'
      ? [
          [`${name}_bucket`, [...labels, 'le']],
          [`${name}_sum`, labels],
          [`${name}_count`, labels],
        ]
      : [[name, labels]],
  ),
);

test.each([
  ...alerts.map(({ alert, expr }) => [alert, expr]),
  ...dashboard.annotations.list.map(({ expr }) => ['an annotation', expr]),
  ...dashboard.templating.list.map(({ query }) => ['a variable', query]),
  ...expressions.map((expr) => ['a panel', expr]),
])('%s names only metrics and labels that there are: %s', (_, expr) => {
  const names = [...expr.matchAll(/\b(?:slotcast|process)_\w+/g)].map(([name]) => name);
  const labels = [
    ...[...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, list = '']) => list.split(', ')),
    ...[...expr.matchAll(/(\w+)=~?"/g)].map(([, label = '']) => label),
  ];
  expect(names.filter((name) => !series.has(name))).toEqual([]);
  const known = new Set(['job', 'instance', ...names.flatMap((name) => series.get(name) ?? [])]);
  expect(labels.filter((label) => !known.has(label))).toEqual([]);
});

test('panels have ids of their own, and none lies on another', () => {
  const { panels } = dashboard;
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`),
  );
  expect(new Set(cells).size).toBe(cells.length);
  expect(panels.filter(({ gridPos: { x, w } }) => x + w > 24)).toEqual([]);
  expect(panels.filter(({ type, targets = [] }) => (type === 'row') !== (targets.length === 0))).toEqual([]);
});

test.skipIf(!hasTool('promtool', "Debian's package prometheus"))(
  'promtool accepts all expressions, and each alert fires when it should',
  () => {
    const folder = `${root}deploy/prometheus`;
    expect(runTool('promtool', ['check', 'rules', `${folder}/slotcast.rules.yml`]).status).toBe(0);
    expect(runTool('promtool', ['check', 'config', `${folder}/scrape.yml`])).toMatchObject({ status: 0 });
    const tested = runTool('promtool', ['test', 'rules', `${folder}/slotcast.test.yml`]);
    expect(tested.status, `promtool: ${tested.said}`).toBe(0);
    const named = new Set(
      [...read('prometheus/slotcast.test.yml').matchAll(/alertname: (\w+)/g)].map(([, name]) => name),
    );
    expect(alerts.map(({ alert }) => alert).filter((name) => !named.has(name))).toEqual([]);
    // What Grafana puts in for its variables.
    const rules = expressions.map((expr, i) => ({
      record: `panel:${i}`,
      expr: expr.replaceAll('$__rate_interval', '1m').replaceAll('$job', 'slotcast').replaceAll('$instance', '.*'),
    }));
    const temporary = mkdtempSync(join(tmpdir(), 'slotcast-'));
    const file = join(temporary, 'panels.yml');
    writeFileSync(file, JSON.stringify({ groups: [{ name: 'panels', rules }] }));
    const checked = runTool('promtool', ['check', 'rules', file]);
    rmSync(temporary, { recursive: true });
    expect(checked.status, `promtool: ${checked.said}`).toBe(0);
  },
);

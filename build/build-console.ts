/**
 * Builds the console with Vite, into the folder that edge threads serve, with compressed variants of each file beside it. Nothing is done if nothing has changed since.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, gzipSync } from 'node:zlib';

/** This file runs compiled, two folders below. */
const root = fileURLToPath(new URL('../../', import.meta.url));
const source = path.join(root, 'src/console');
const target = path.join(root, 'dist/src/console');
const stamp = path.join(root, 'dist/.console-stamp');
/** What the bundle is made of. */
const inputs = ['src/console', 'src/client', 'src/protocol', 'build', 'package-lock.json', 'tsconfig.json'];

function* listFiles(name: string): Generator<string> {
  const full = path.join(root, name);
  const entries = name.includes('.') ? undefined : readdirSync(full, { withFileTypes: true });
  if (entries === undefined) yield full;
  for (const entry of entries ?? []) yield* listFiles(path.join(name, entry.name));
}

function hashInputs(): string {
  const hash = createHash('sha256');
  for (const file of inputs.flatMap((name) => [...listFiles(name)]).sort()) {
    hash.update(`${path.relative(root, file)}\n`).update(readFileSync(file));
  }
  return hash.digest('hex');
}

async function buildConsole(): Promise<void> {
  const hash = hashInputs();
  const isCurrent = existsSync(path.join(target, 'index.html')) && existsSync(stamp);
  if (isCurrent && readFileSync(stamp, 'utf8') === hash) return;
  const { build } = await import('vite');
  await build({
    root: source,
    base: '/console/',
    configFile: false,
    logLevel: 'warn',
    oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
    build: {
      outDir: target,
      emptyOutDir: true,
      assetsDir: '',
      target: 'es2022',
      modulePreload: false,
      // A browser has a WebSocket of its own: the one of Node is never loaded.
      rolldownOptions: { external: ['ws'] },
    },
  });
  for (const name of readdirSync(target)) {
    const bytes = readFileSync(path.join(target, name));
    writeFileSync(path.join(target, `${name}.br`), brotliCompressSync(bytes));
    writeFileSync(path.join(target, `${name}.gz`), gzipSync(bytes, { level: 9 }));
  }
  writeFileSync(stamp, hash);
}

await buildConsole();

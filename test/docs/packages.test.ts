import { readFileSync } from 'node:fs';

import { expect, test } from 'vitest';

import { listSourceFiles, root } from '../support/source-files.ts';

test('what is shipped refers to no source map: the sources that one would show are not shipped', () => {
  // The console is one bundle, whose names follow its content.
  const sources = listSourceFiles().filter((file) => !file.startsWith('src/console/'));
  const referring = sources.filter((file) => {
    const built = readFileSync(`${root}dist/${file.replace(/\.ts$/, '.js')}`, 'utf8');
    return built.includes('sourceMappingURL');
  });
  expect(referring).toEqual([]);
});

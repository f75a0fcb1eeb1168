import { readFileSync } from 'node:fs';

import { expect, test } from 'vitest';

import { listSourceFiles, root } from '../support/source-files.ts';

test('what is shipped refers to no source map: the sources that one would show are not shipped', () => {
  const referring = listSourceFiles().filter((file) => {
    const built = readFileSync(`${root}dist/${file.replace(/\.ts$/, '.js')}`, 'utf8');
    return built.includes('sourceMappingURL');
  });
  expect(referring).toEqual([]);
});

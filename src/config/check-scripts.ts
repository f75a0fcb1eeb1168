/** An entry of the setting: `name=program argument …`, in words. */
export function parseScript(entry: string): readonly [name: string, words: readonly string[]] | undefined {
  const at = entry.indexOf('=');
  const name = entry.slice(0, at);
  const words = entry
    .slice(at + 1)
    .split(' ')
    .filter((word) => word !== '');
  return at < 1 || !/^[A-Za-z0-9_.-]{1,64}$/.test(name) || words.length === 0 ? undefined : [name, words];
}

/** What is wrong with an entry of the setting; undefined: nothing. */
export function explainUselessScript(entry: string): string | undefined {
  return parseScript(entry) === undefined ? `${JSON.stringify(entry)} is not name=program argument …` : undefined;
}

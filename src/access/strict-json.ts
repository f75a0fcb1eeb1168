const utf8: InstanceType<typeof TextDecoder> = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The object that some bytes are, in UTF-8. `undefined` if they are anything else, or if a name stands twice in it: readers do not agree on which one counts. */
export function parseObject(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  let text: string;
  let value: unknown;
  try {
    text = utf8.decode(bytes);
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return hasDuplicates(text) ? undefined : (value as Record<string, unknown>);
}

/** Whether any object of a text that is JSON has a name twice, however it is escaped. */
function hasDuplicates(text: string): boolean {
  /** The names of each object that is open; `undefined` for an array. */
  const open: (Set<string> | undefined)[] = [];
  for (const [token, colon] of text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?|[[\]{}]/g)) {
    if (token === '{') open.push(new Set());
    else if (token === '[') open.push(undefined);
    else if (token === '}' || token === ']') open.pop();
    else if (colon !== undefined) {
      const names = open.at(-1);
      const name = JSON.parse(token.slice(0, -colon.length)) as string;
      if (names?.has(name) === true) return true;
      names?.add(name);
    }
  }
  return false;
}

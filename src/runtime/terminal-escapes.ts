/**
 * What moves a terminal's cursor, colours it, hides itself or turns the direction of writing: control characters (C1 among them, which some terminals take for
 * escapes), formatting and other invisible ones, separators of lines and paragraphs, every space that is not the usual one, halves of pairs.
 */
const unsafe = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]|(?! )\p{Zs}/gu;
/** In JSON text; the line feeds between its lines stay. What ASCII has of them JSON escapes by itself. */
const unsafeInJson = /[\u007f-\u009f\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/gu;

/** Untrusted text as it may be shown in a terminal: unsafe characters are replaced by `\u{…}`, and text that already looks like that is escaped. */
export function escapeTerminal(text: string): string {
  return text
    .replaceAll('\\u{', '\\u{5c}u{')
    .replaceAll(unsafe, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`);
}

/** JSON text that says the same, and may be shown in a terminal. */
export function escapeJson(json: string): string {
  return json.replaceAll(unsafeInJson, (character) =>
    Array.from(
      { length: character.length },
      (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, '0')}`,
    ).join(''),
  );
}

import { stringify as stringifyCsv } from 'csv-stringify/sync';
import { Document, visit } from 'yaml';

import { escapeJson, escapeTerminal } from '../runtime/terminal-escapes.ts';

/** YAML that a terminal may be shown: what has something in it that it would obey is quoted, and escaped as in JSON. */
export function formatYaml(value: object): string {
  const document = new Document(value, { aliasDuplicateObjects: false });
  visit(document, {
    Scalar: (_, scalar) => {
      const { value: text } = scalar;
      if (typeof text === 'string' && escapeTerminal(text) !== text) scalar.type = 'QUOTE_DOUBLE';
    },
  });
  return escapeJson(document.toString({ lineWidth: 0 }));
}

/**
 * CSV with a line of headings. What spreadsheets would take for a formula begins with an apostrophe: others chose it. `isShown`: in a terminal, which is to obey none of it.
 */
export function formatCsv(rows: readonly object[], isShown: boolean): string {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const show = (text: string): string => (isShown ? escapeTerminal(text) : text);
  return stringifyCsv([...rows], {
    header: rows.length > 0,
    columns,
    escape_formulas: true,
    cast: { string: show, boolean: String, object: (value: object) => show(JSON.stringify(value)) },
  });
}

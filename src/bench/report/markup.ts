/** Whatever comes from outside (addresses, settings, messages) is text, never markup. */
export function escapeHtml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

/** The first column to the left, the others as figures to the right; cells are text. */
export function renderTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const body = rows.map((row) => `<tr>${row.map(renderCell('td')).join('')}</tr>`).join('');
  return `<div class="wide"><table><thead><tr>${head.map(renderCell('th')).join('')}</tr></thead><tbody>${body}</tbody></table></div>`;
}

function renderCell(tag: 'th' | 'td'): (cell: string, column: number) => string {
  return (cell, column) => `<${tag}${column === 0 ? '' : ' class="n"'}>${escapeHtml(cell)}</${tag}>`;
}

export function renderList(title: string, items: readonly string[]): string {
  if (items.length === 0) return '';
  return `<h3>${escapeHtml(title)}</h3><ul>${items.map((item) => `<li>${escapeHtml(item)}</li>`).join('')}</ul>`;
}

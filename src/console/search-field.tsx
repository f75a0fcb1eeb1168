import type { VNode } from 'preact';

export interface SearchFieldProps {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
}

/** Focused with `/`. Arrow down goes on to the list. */
export function SearchField({ label, value, onChange }: SearchFieldProps): VNode {
  return (
    <label class="search">
      <span class="hidden">{label}</span>
      <input
        type="search"
        placeholder={label}
        value={value}
        data-search
        spellcheck={false}
        autoComplete="off"
        onInput={({ currentTarget }) => {
          onChange(currentTarget.value);
        }}
        onKeyDown={(event) => {
          if (event.key === 'Escape') {
            onChange('');
            event.currentTarget.blur();
          } else if (event.key === 'ArrowDown' || event.key === 'Enter') {
            document.querySelector<HTMLElement>('main [role="row"][tabindex="0"]')?.focus();
            event.preventDefault();
          }
        }}
      />
      <kbd aria-hidden="true">/</kbd>
    </label>
  );
}

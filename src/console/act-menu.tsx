import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';

import type { Act } from './act.ts';
import { useConfirm } from './confirming.tsx';

/** Acts that are not often needed. */
export function ActMenu({ acts }: { readonly acts: readonly (readonly [text: string, act: Act])[] }): VNode {
  const confirm = useConfirm();
  const menu = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    const close = (event: Event): void => {
      const isOutside = !(event.target instanceof Node) || menu.current?.contains(event.target) !== true;
      const isEscape = event instanceof KeyboardEvent && event.key === 'Escape';
      if (menu.current?.open !== true || !(isOutside || isEscape)) return;
      menu.current.open = false;
      if (isEscape) event.stopPropagation();
    };
    addEventListener('pointerdown', close, true);
    addEventListener('keydown', close, true);
    return () => {
      removeEventListener('pointerdown', close, true);
      removeEventListener('keydown', close, true);
    };
  }, []);
  return (
    <details class="menu" ref={menu}>
      <summary>More</summary>
      <div>
        {acts.map(([text, act]) => (
          <button
            key={text}
            type="button"
            class="plain"
            onClick={() => {
              if (menu.current !== null) menu.current.open = false;
              confirm(act);
            }}
          >
            {text}
          </button>
        ))}
      </div>
    </details>
  );
}

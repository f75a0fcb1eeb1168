import type { ComponentChildren, VNode } from 'preact';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';

/** Below this width rows have two lines. */
const narrowQuery = '(max-width: 760px)';
const overscan = 6;

export interface VirtualListProps {
  readonly label: string;
  readonly count: number;
  /** Of one row, in pixels: on wide screens, and on narrow ones. */
  readonly rowHeights: readonly [wide: number, narrow: number];
  /** The head of each column; they stand above the list on wide screens. */
  readonly columns: readonly string[];
  /** For the widths of columns. */
  readonly kind: string;
  readonly keyOf: (row: number) => string;
  readonly renderRow: (row: number) => ComponentChildren;
  readonly classOf?: ((row: number) => string) | undefined;
  readonly onOpen: (row: number) => void;
  readonly empty: string;
}

export function useMedia(query: string): boolean {
  const [matches, setMatches] = useState(() => matchMedia(query).matches);
  useEffect(() => {
    const list = matchMedia(query);
    const follow = (): void => {
      setMatches(list.matches);
    };
    list.addEventListener('change', follow);
    return () => {
      list.removeEventListener('change', follow);
    };
  }, [query]);
  return matches;
}

/** A table of which only the rows that show are there. Arrow keys move the focus, Enter opens. */
export function VirtualList(props: VirtualListProps): VNode {
  const { label, count, columns, kind, keyOf, renderRow, classOf, onOpen, empty } = props;
  const rowHeight = props.rowHeights[useMedia(narrowQuery) ? 1 : 0];
  const scroller = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: 0, height: 600 });
  const [active, setActive] = useState(0);
  const focusNext = useRef(false);
  useLayoutEffect(() => {
    const element = scroller.current!;
    const measure = (): void => {
      setView({ top: element.scrollTop, height: element.clientHeight });
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    element.addEventListener('scroll', measure, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener('scroll', measure);
    };
  }, []);
  const current = Math.min(active, Math.max(0, count - 1));
  useLayoutEffect(() => {
    if (!focusNext.current) return;
    focusNext.current = false;
    scroller.current?.querySelector<HTMLElement>(`[data-row="${current}"]`)?.focus({ preventScroll: true });
  });
  const move = (to: number): void => {
    const element = scroller.current!;
    const row = Math.max(0, Math.min(count - 1, to));
    const top = row * rowHeight;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + rowHeight > element.scrollTop + element.clientHeight) {
      element.scrollTop = top + rowHeight - element.clientHeight;
    }
    focusNext.current = true;
    setView({ top: element.scrollTop, height: element.clientHeight });
    setActive(row);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const page = Math.max(1, Math.floor(view.height / rowHeight) - 1);
    const targets: Readonly<Record<string, number>> = {
      ArrowDown: current + 1,
      j: current + 1,
      ArrowUp: current - 1,
      k: current - 1,
      PageDown: current + page,
      PageUp: current - page,
      Home: 0,
      End: count - 1,
    };
    const target = targets[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (target !== undefined) move(target);
    else if (event.key === 'Enter' && count > 0) onOpen(current);
    else return;
    event.preventDefault();
  };
  const first = Math.max(0, Math.floor(view.top / rowHeight) - overscan);
  const last = Math.min(count, Math.ceil((view.top + view.height) / rowHeight) + overscan);
  const rows = Array.from({ length: Math.max(0, last - first) }, (_, i) => first + i);
  return (
    <div
      class={`table ${kind}`}
      role="grid"
      aria-label={label}
      aria-rowcount={count + 1}
      aria-colcount={columns.length}
    >
      <div class="thead" role="rowgroup">
        <div class="tr" role="row" aria-rowindex={1}>
          {columns.map((column) => (
            <span role="columnheader" key={column}>
              {column}
            </span>
          ))}
        </div>
      </div>
      <div class="tbody" role="rowgroup" ref={scroller} onKeyDown={onKeyDown}>
        <div class="tall" role="presentation" style={{ height: `${count * rowHeight}px` }}>
          {rows.map((row) => (
            <div
              class={`tr ${classOf?.(row) ?? ''}`}
              role="row"
              aria-rowindex={row + 2}
              key={keyOf(row)}
              data-row={row}
              tabIndex={row === current ? 0 : -1}
              style={{ transform: `translateY(${row * rowHeight}px)`, height: `${rowHeight}px` }}
              onClick={() => {
                setActive(row);
                onOpen(row);
              }}
            >
              {renderRow(row)}
            </div>
          ))}
        </div>
        {count === 0 ? (
          <p class="empty" role="row">
            <span role="gridcell">{empty}</span>
          </p>
        ) : null}
      </div>
    </div>
  );
}

import type { VNode } from 'preact';
import { useEffect, useMemo, useState } from 'preact/hooks';

import { parseServiceKey } from '../protocol/service-key.ts';
import { explain } from './api.ts';
import { isSigningIn, useSignIn, whenPrincipalChanges } from './credentials.ts';
import { formatCount, prefixOf } from './format.ts';
import { usePoller } from './poller.ts';
import { statsPoller, switchesPoller } from './registry-state.ts';
import { linkTo } from './route.ts';
import { SearchField } from './search-field.tsx';
import { namesMax, noNames, readNames, searchNames } from './service-names.ts';
import type { ServiceNames } from './service-names.ts';
import { statesOf } from './switch-text.ts';
import { VirtualList } from './virtual-list.tsx';

/** How long names count as current; longer where to read them takes long. */
const refreshMs = 5000;
const restPerWork = 20;
/** What was read last, for whoever comes back to the page. */
let known: ServiceNames = noNames;
whenPrincipalChanges(() => {
  known = noNames;
});

function useNames(): { readonly names: ServiceNames; readonly isReading: boolean; readonly failure: string } {
  const [names, setNames] = useState(known);
  const [isReading, setReading] = useState(true);
  const [failure, setFailure] = useState('');
  const { generation } = useSignIn();
  useEffect(() => {
    const abort = new AbortController();
    let timer: number | undefined;
    let shownMs = 0;
    const showFirst = (partial: ServiceNames): void => {
      // The first time they show as they come; later ones replace all at once.
      if (known.keys.length > 0 || performance.now() - shownMs < 100) return;
      shownMs = performance.now();
      setNames({ ...partial });
    };
    const read = async (): Promise<void> => {
      // Read when somebody has signed in.
      if (isSigningIn()) return;
      const startedMs = performance.now();
      try {
        known = await readNames(showFirst, abort.signal);
        setNames(known);
        setFailure('');
      } catch (error) {
        if (abort.signal.aborted) return;
        setFailure(explain(error));
      }
      setReading(false);
      const restMs = Math.max(refreshMs, (performance.now() - startedMs) * restPerWork);
      timer = setTimeout(() => void read(), document.hidden ? restMs * 4 : restMs) as unknown as number;
    };
    void read();
    return () => {
      abort.abort();
      clearTimeout(timer);
    };
  }, [generation]);
  return { names, isReading, failure };
}

export function ServicesPage(): VNode {
  const { names, isReading, failure } = useNames();
  const [query, setQuery] = useState('');
  const { value: stats } = usePoller(statsPoller);
  const { value: switches } = usePoller(switchesPoller);
  const found = useMemo(() => searchNames(names, query), [names, query]);
  // Of thousands of switches few are about services as a whole, and each row that shows asks them all.
  const standing = useMemo(() => (switches?.switches ?? []).filter(({ id }) => id === undefined), [switches]);
  const count = found?.length ?? names.keys.length;
  const placeOf = (row: number): number => found?.[row] ?? row;
  return (
    <>
      <header class="page-head">
        <h1>Services</h1>
        <SearchField label="Search services" value={query} onChange={setQuery} />
        <p class="figures" role="status">
          {failure === ''
            ? `${formatCount(count)}${query === '' ? '' : ` of ${formatCount(names.keys.length)}`} services`
            : failure}
          {stats === undefined ? '' : ` · ${formatCount(stats.registrations + stats.persistentInstances)} instances`}
          {names.hasMore && !isReading ? ` · of more than ${formatCount(namesMax)} names the first are kept` : ''}
        </p>
      </header>
      <VirtualList
        label="Services"
        kind="services"
        columns={['Service', 'State', 'Instances']}
        rowHeights={[34, 44]}
        count={count}
        keyOf={(row) => names.keys[placeOf(row)] ?? ''}
        onOpen={(row) => {
          location.hash = linkTo('services', names.keys[placeOf(row)]);
        }}
        empty={
          failure !== ''
            ? failure
            : isReading
              ? 'Reading…'
              : query === ''
                ? 'No service has instances.'
                : 'No name holds that.'
        }
        renderRow={(row) => {
          const place = placeOf(row);
          const key = names.keys[place] ?? '';
          const [state] = statesOf(key, standing);
          return (
            <>
              <span role="gridcell" class="name">
                <span class="dim">{prefixOf(key)}</span>
                {parseServiceKey(key).service}
              </span>
              <span role="gridcell">{state === undefined ? '' : <span class={`badge ${state}`}>{state}</span>}</span>
              <span role="gridcell" class="number">
                {formatCount(names.instances[place] ?? 0)}
              </span>
            </>
          );
        }}
      />
    </>
  );
}

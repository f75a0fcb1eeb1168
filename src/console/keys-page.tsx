import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';

import type { KeyEntry, KeyWatch } from '../client/index.ts';
import { explain } from './api.ts';
import { useSignIn } from './credentials.ts';
import { countOf, formatBytes } from './format.ts';
import { linkTo } from './route.ts';
import { SearchField } from './search-field.tsx';
import { openClient } from './session-client.ts';
import { VirtualList } from './virtual-list.tsx';

/** Keys that are kept; a longer prefix leads to others. */
const keysMax = 10_000;
const pageSize = 1000;
/** Before keys that have changed are read again. */
const settleMs = 300;
const textMax = 20_000;

interface KeyNames {
  readonly keys: readonly string[];
  readonly hasMore: boolean;
  readonly isReading: boolean;
  readonly failure: string;
}

async function readKeys(prefix: string): Promise<Pick<KeyNames, 'keys' | 'hasMore'>> {
  const client = await openClient();
  const keys: string[] = [];
  for await (const page of client.keys.list({ prefix, keysOnly: true, limit: pageSize })) {
    for (const key of page.keys) keys.push(key);
    if (keys.length >= keysMax) return { keys, hasMore: true };
  }
  return { keys, hasMore: false };
}

/** The keys with a prefix, as they are, and again after they have changed. */
function useKeys(prefix: string): KeyNames {
  const [names, setNames] = useState<KeyNames>({ keys: [], hasMore: false, isReading: true, failure: '' });
  const { generation } = useSignIn();
  useEffect(() => {
    let isOver = false;
    let watch: KeyWatch | undefined;
    let timer: number | undefined;
    const read = async (): Promise<void> => {
      try {
        const found = await readKeys(prefix);
        if (!isOver) setNames({ ...found, isReading: false, failure: '' });
      } catch (error) {
        if (!isOver) setNames({ keys: [], hasMore: false, isReading: false, failure: explain(error) });
      }
    };
    const follow = async (): Promise<void> => {
      const client = await openClient();
      watch = await client.keys.watch({ prefix });
      if (isOver) watch.close();
      for await (const _event of watch) {
        clearTimeout(timer);
        timer = setTimeout(() => void read(), settleMs) as unknown as number;
      }
    };
    // While it is typed, it is not yet meant.
    const delay = setTimeout(() => {
      void read();
      // Without a watch the list stays as it was read.
      follow().catch(() => undefined);
    }, 100);
    return () => {
      isOver = true;
      clearTimeout(delay);
      clearTimeout(timer);
      watch?.close();
    };
  }, [prefix, generation]);
  return names;
}

export function KeysPage({ subject }: { readonly subject: string }): VNode {
  const [prefix, setPrefix] = useState('');
  const { keys, hasMore, isReading, failure } = useKeys(prefix);
  return (
    <>
      <header class="page-head">
        <h1>Keys</h1>
        <SearchField label="Keys that begin with" value={prefix} onChange={setPrefix} />
        <p class="figures" role="status">
          {failure === '' ? `${hasMore ? 'more than ' : ''}${countOf(keys.length, 'key')}` : failure}
        </p>
      </header>
      <div class="split">
        <VirtualList
          label="Keys"
          kind="keys"
          columns={['Key']}
          rowHeights={[34, 44]}
          count={keys.length}
          keyOf={(row) => keys[row] ?? ''}
          classOf={(row) => (keys[row] === subject ? 'selected' : '')}
          onOpen={(row) => {
            location.hash = linkTo('keys', keys[row]);
          }}
          empty={failure !== '' ? failure : isReading ? 'Reading…' : 'No keys.'}
          renderRow={(row) => (
            <span role="gridcell" class="name mono">
              {keys[row]}
            </span>
          )}
        />
        {subject === '' ? (
          <aside class="detail vacant" aria-label="Key">
            <p>Choose a key to see its value.</p>
          </aside>
        ) : (
          <KeyDetail key={subject} name={subject} />
        )}
      </div>
    </>
  );
}

function KeyDetail({ name }: { readonly name: string }): VNode {
  const [entry, setEntry] = useState<KeyEntry>();
  const [state, setState] = useState('Reading…');
  const { generation } = useSignIn();
  useEffect(() => {
    const abort = new AbortController();
    const follow = async (): Promise<void> => {
      const client = await openClient();
      for await (const found of client.keys.follow(name, { signal: abort.signal })) {
        setEntry(found);
        setState(found === undefined ? 'There is no such key.' : '');
      }
    };
    follow().catch((error: unknown) => {
      if (!abort.signal.aborted) setState(explain(error));
    });
    return () => {
      abort.abort();
    };
  }, [name, generation]);
  const facts: readonly (readonly [string, string])[] =
    entry === undefined
      ? []
      : [
          ['Size', formatBytes(entry.value.length)],
          ['Created at', String(entry.createVersion)],
          ['Changed at', String(entry.modifyVersion)],
          ['Flags', String(entry.flags)],
          ['Held by', entry.holder ?? 'nobody'],
          ['Acquired', `${entry.lockIndex} times`],
        ];
  return (
    <aside class="detail" aria-label="Key">
      <h2 class="mono">
        {name}
        <a class="close" href={linkTo('keys')} aria-label="Close">
          ✕
        </a>
      </h2>
      {state === '' ? null : <p>{state}</p>}
      <dl>
        {facts.map(([fact, text]) => (
          <div key={fact}>
            <dt>{fact}</dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
      {entry === undefined ? null : (
        <pre tabIndex={0} aria-label="Value">
          {entry.text.slice(0, textMax)}
          {entry.text.length > textMax ? '\n…' : ''}
        </pre>
      )}
    </aside>
  );
}

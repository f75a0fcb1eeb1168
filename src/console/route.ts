import { useEffect, useState } from 'preact/hooks';

export const pages = [
  ['services', 'Services', 's'],
  ['sessions', 'Sessions', 'e'],
  ['slots', 'Slots', 'l'],
  ['load', 'Load', 'o'],
  ['keys', 'Keys', 'k'],
  ['threads', 'Threads', 't'],
  ['switches', 'Switches', 'w'],
] as const;

export type PageName = (typeof pages)[number][0];

export interface Route {
  readonly page: PageName;
  /** What is looked at there; empty: all. */
  readonly subject: string;
}

export function linkTo(page: PageName, subject = ''): string {
  return subject === '' ? `#/${page}` : `#/${page}/${encodeURIComponent(subject)}`;
}

function readRoute(): Route {
  const [, name = '', subject = ''] = location.hash.split('/');
  const [page] = pages.find(([known]) => known === name) ?? pages[0];
  try {
    return { page, subject: decodeURIComponent(subject) };
  } catch {
    // Somebody typed it.
    return { page, subject: '' };
  }
}

export function useRoute(): Route {
  const [route, setRoute] = useState(readRoute);
  useEffect(() => {
    const follow = (): void => {
      setRoute(readRoute());
    };
    addEventListener('hashchange', follow);
    return () => {
      removeEventListener('hashchange', follow);
    };
  }, []);
  return route;
}

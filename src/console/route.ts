import { useEffect, useState } from 'preact/hooks';

import { serviceKey } from '../protocol/service-key.ts';

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

/** Somebody may have typed it: slashes that are not encoded, or a service without its namespace and group. */
function readRoute(): Route {
  const [, name = '', ...rest] = location.hash.split('/');
  const [page] = pages.find(([known]) => known === name) ?? pages[0];
  try {
    const subject = decodeURIComponent(rest.join('/'));
    const isName = page === 'services' && subject !== '' && subject.split('/').length < 3;
    return {
      page,
      subject: isName ? serviceKey({ namespace: undefined, group: undefined, service: subject }) : subject,
    };
  } catch {
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

import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';

import { Banner } from './banner.tsx';
import { Confirming, isTyping } from './confirming.tsx';
import { useSignIn } from './credentials.ts';
import { KeysPage } from './keys-page.tsx';
import { LoadPage } from './load-page.tsx';
import { linkTo, pages, useRoute } from './route.ts';
import type { Route } from './route.ts';
import { ServicePage } from './service-page.tsx';
import { ServicesPage } from './services-page.tsx';
import { SessionsPage } from './sessions-page.tsx';
import { checkWho, SignInDialog, SignInPage, WhoIsIn } from './sign-in.tsx';
import { SlotsPage } from './slots-page.tsx';
import { SwitchesPage } from './switches-page.tsx';
import { ThreadsPage } from './threads-page.tsx';

function PageView({ route: { page, subject } }: { readonly route: Route }): VNode {
  switch (page) {
    case 'services':
      return subject === '' ? <ServicesPage /> : <ServicePage key={subject} subject={subject} />;
    case 'sessions':
      return <SessionsPage subject={subject} />;
    case 'slots':
      return <SlotsPage />;
    case 'load':
      return <LoadPage />;
    case 'keys':
      return <KeysPage subject={subject} />;
    case 'threads':
      return <ThreadsPage />;
    case 'switches':
      return <SwitchesPage />;
    default:
      return page satisfies never;
  }
}

/** `/` searches; a letter after `g` goes to a page; `?` tells of all. */
function useShortcuts(onHelp: () => void): void {
  const isGoing = useRef(false);
  useEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (isTyping(event)) return;
      const wasGoing = isGoing.current;
      isGoing.current = event.key === 'g' && !wasGoing;
      if (wasGoing) {
        const target = pages.find(([, , letter]) => letter === event.key);
        if (target !== undefined) location.hash = linkTo(target[0]);
      } else if (event.key === '/') document.querySelector<HTMLInputElement>('[data-search]')?.focus();
      else if (event.key === '?') onHelp();
      else if (event.key === 'Escape') goUp();
      else return;
      event.preventDefault();
    };
    addEventListener('keydown', onKey);
    return () => {
      removeEventListener('keydown', onKey);
    };
  }, [onHelp]);
}

/** From what is looked at to all of its kind. */
function goUp(): void {
  const close = document.querySelector<HTMLElement>('aside .close');
  if (close === null) document.querySelector<HTMLElement>('.back')?.click();
  else close.click();
}

function Help({ onClose }: { readonly onClose: () => void }): VNode {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  const keys: readonly (readonly [string, string])[] = [
    ['/', 'search'],
    ['↓ ↑ j k', 'next and previous row'],
    ['Enter', 'open'],
    ['Esc', 'back'],
    ['u', 'undo what was done last'],
    ...pages.map(([, title, letter]): readonly [string, string] => [`g ${letter}`, title]),
    ['?', 'this list'],
  ];
  return (
    <dialog ref={dialog} aria-labelledby="help-title" onClose={onClose}>
      <h2 id="help-title">Keyboard</h2>
      <dl class="keys-help">
        {keys.map(([key, meaning]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{meaning}</dd>
          </div>
        ))}
      </dl>
      <form method="dialog" class="buttons">
        <button type="submit">Close</button>
      </form>
    </dialog>
  );
}

/** Shown once it is known whether somebody has to sign in. */
export function App(): VNode | null {
  const { who, isSignInNeeded } = useSignIn();
  const [isChecked, setChecked] = useState(false);
  useEffect(() => {
    void checkWho().then(() => {
      setChecked(true);
    });
  }, []);
  if (who === undefined && isSignInNeeded) return <SignInPage />;
  if (!isChecked && who === undefined) return null;
  return (
    <>
      <Pages key={who?.principal} />
      {isSignInNeeded ? <SignInDialog /> : null}
    </>
  );
}

function Pages(): VNode {
  const route = useRoute();
  const [isHelping, setHelping] = useState(false);
  const [help] = useState(() => () => {
    setHelping(true);
  });
  useShortcuts(help);
  const title = pages.find(([page]) => page === route.page)?.[1] ?? '';
  useEffect(() => {
    document.title = `${route.subject === '' ? title : route.subject} – slotcast`;
  }, [route, title]);
  return (
    <Confirming>
      <header class="top">
        <button type="button" class="skip" onClick={() => document.getElementById('main')?.focus()}>
          To the content
        </button>
        <a class="brand" href={linkTo('services')}>
          slotcast
        </a>
        <nav aria-label="Pages">
          {pages.map(([page, text]) => (
            <a key={page} href={linkTo(page)} aria-current={page === route.page ? 'page' : undefined}>
              {text}
            </a>
          ))}
        </nav>
        <WhoIsIn />
        <button type="button" class="plain help" aria-label="Keyboard shortcuts" onClick={help}>
          ?
        </button>
      </header>
      <Banner />
      <main id="main" tabIndex={-1} class={`page-${route.page}`}>
        <PageView route={route} />
      </main>
      {isHelping ? (
        <Help
          onClose={() => {
            setHelping(false);
          }}
        />
      ) : null}
    </Confirming>
  );
}

import { useEffect, useState } from 'preact/hooks';

import type { WhoAmI } from '../protocol/access.ts';

/** Nobody is known to the page once it is left: the token is in this variable and nowhere else. */
let token: string | undefined;
let who: WhoAmI | undefined;
let isSignInNeeded = false;
let hasDeclined = false;
let reason = '';
let generation = 0;

const listeners: Set<() => void> = new Set();
const onOther: Set<() => void> = new Set();

function tell(): void {
  for (const listener of listeners) listener();
}

export function readToken(): string | undefined {
  return token;
}

/** Nothing is asked meanwhile, for it would only be refused. */
export function isSigningIn(): boolean {
  return isSignInNeeded;
}

/** Whoever keeps what was read forgets it when somebody else signs in. */
export function whenPrincipalChanges(forget: () => void): void {
  onOther.add(forget);
}

/** The server does not know who asked: somebody has to sign in, unless they have chosen to go on without. `shown`: the token that was. */
export function noteUnauthorized(shown: string | undefined): void {
  if (shown !== token || isSignInNeeded || (shown === undefined && hasDeclined)) return;
  reason = shown === undefined ? '' : 'You are signed out: the token has been revoked, or has expired.';
  token = undefined;
  isSignInNeeded = true;
  generation += 1;
  tell();
}

/** `given`: the token by which the server knows them; undefined: without. */
export function noteWho(found: WhoAmI, given: string | undefined): void {
  if (who !== undefined && who.principal !== found.principal) for (const forget of onOther) forget();
  if (given !== token) generation += 1;
  who = found;
  token = given;
  isSignInNeeded = false;
  reason = '';
  tell();
}

export function askForSignIn(): void {
  isSignInNeeded = true;
  tell();
}

/** Goes on with what is allowed to everybody. */
export function declineSignIn(): void {
  hasDeclined = true;
  isSignInNeeded = false;
  generation += 1;
  tell();
}

export interface SignInState {
  /** Undefined: it is not known whether anybody has to sign in. */
  readonly who: WhoAmI | undefined;
  readonly isSignInNeeded: boolean;
  readonly reason: string;
  readonly isSignedIn: boolean;
  /** Whether somebody could sign in who has not. */
  readonly canSignIn: boolean;
  /** Another for each token: what was opened with the one before is opened again. */
  readonly generation: number;
}

function readState(): SignInState {
  const isSignedIn = token !== undefined;
  // Without access control nobody is anybody, and no policy speaks of them.
  const canSignIn = who?.principal === 'anonymous' && (hasDeclined || who.policies.length > 0);
  return { who, isSignInNeeded, reason, isSignedIn, canSignIn, generation };
}

export function useSignIn(): SignInState {
  const [state, setState] = useState(readState);
  useEffect(() => {
    const listener = (): void => {
      setState(readState());
    };
    listeners.add(listener);
    // It may have changed before this was mounted.
    listener();
    return () => {
      listeners.delete(listener);
    };
  }, []);
  return state;
}

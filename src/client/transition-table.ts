interface Kind {
  readonly kind: string;
}

/** What is done in each state `S` on each event `E`. A table with a missing cell does not compile. */
export type TransitionTable<S extends Kind, E extends Kind, R, Extra extends readonly unknown[] = []> = {
  readonly [State in S as State['kind']]: {
    readonly [Event in E as Event['kind']]: (state: State, event: Event, ...extra: Extra) => R;
  };
};

/** Does what the cell of this state and this event says. */
export function transition<S extends Kind, E extends Kind, R, Extra extends readonly unknown[] = []>(
  table: TransitionTable<S, E, R, Extra>,
  state: S,
  event: E,
  ...extra: Extra
): R {
  // The table pairs each state with its own handlers, which the compiler cannot see through the lookup.
  const rows = table as unknown as Record<S['kind'], Record<E['kind'], (state: S, event: E, ...extra: Extra) => R>>;
  const row: Record<E['kind'], (state: S, event: E, ...extra: Extra) => R> = rows[state.kind as S['kind']];
  return row[event.kind as E['kind']](state, event, ...extra);
}

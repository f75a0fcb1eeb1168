interface Kind {
  readonly kind: string;
}

type Handler<S, E, R, Extra extends readonly unknown[]> = (state: S, event: E, ...extra: Extra) => R;

/** What is done in each state `S` on each event `E`. A table with a missing cell does not compile. */
export type TransitionTable<S extends Kind, E extends Kind, R, Extra extends readonly unknown[] = []> = {
  readonly [State in S as State['kind']]: {
    readonly [Event in E as Event['kind']]: Handler<State, Event, R, Extra>;
  };
};

/** The cell of this state and this event, to be called with them. */
export function cellOf<S extends Kind, E extends Kind, R, Extra extends readonly unknown[] = []>(
  table: TransitionTable<S, E, R, Extra>,
  state: S,
  event: E,
): Handler<S, E, R, Extra> {
  // The table pairs each state with its own handlers, which the compiler cannot see through the lookup.
  const rows = table as unknown as Record<S['kind'], Record<E['kind'], Handler<S, E, R, Extra>>>;
  return rows[state.kind as S['kind']][event.kind as E['kind']];
}

import type { ComponentChildren, VNode } from 'preact';
import { createContext } from 'preact';
import { useCallback, useContext, useEffect, useRef, useState } from 'preact/hooks';

import type { InstanceOverride } from '../protocol/types.ts';
import type { Act, ActInput, Done } from './act.ts';
import { explain } from './api.ts';

type Confirm = (act: Act) => void;
const ConfirmContext = createContext<Confirm>(() => undefined);

/** Asks before an act, does it, and keeps its undoing at hand. */
export function useConfirm(): Confirm {
  return useContext(ConfirmContext);
}

const durations = [
  ['', 'until it is lifted'],
  ['600000', 'for 10 minutes'],
  ['3600000', 'for 1 hour'],
  ['28800000', 'for 8 hours'],
  ['86400000', 'for 1 day'],
] as const;
const byKey = 'slotcast-by';
/** How long what was done is told of. */
const toastMs = 60_000;

interface Toast extends Done {
  readonly number: number;
}
let lastToast = 0;

export function Confirming({ children }: { readonly children: ComponentChildren }): VNode {
  const [act, setAct] = useState<Act>();
  const [toast, setToast] = useState<Toast>();
  const confirm = useCallback((wanted: Act) => {
    setAct(() => wanted);
  }, []);
  const tell = (done: Done): void => {
    lastToast += 1;
    setToast({ ...done, number: lastToast });
  };
  return (
    <ConfirmContext.Provider value={confirm}>
      {children}
      {act === undefined ? null : (
        <ActDialog
          act={act}
          onClose={(done) => {
            setAct(undefined);
            if (done !== undefined) tell(done);
          }}
        />
      )}
      <div class="toasts" aria-live="polite">
        {toast === undefined ? null : (
          <ToastView
            key={toast.number}
            toast={toast}
            onDone={(next) => {
              if (next === undefined) setToast(undefined);
              else tell(next);
            }}
          />
        )}
      </div>
    </ConfirmContext.Provider>
  );
}

function ToastView({ toast, onDone }: { readonly toast: Toast; readonly onDone: (next?: Done) => void }): VNode {
  const { message, undo } = toast;
  const [isBusy, setBusy] = useState(false);
  const undoIt = (): void => {
    if (undo === undefined || isBusy) return;
    setBusy(true);
    undo.run().then(
      () => {
        onDone({ message: 'Undone.' });
      },
      (error: unknown) => {
        onDone({ message: `Not undone: ${explain(error)}`, undo });
      },
    );
  };
  useEffect(() => {
    const timer = setTimeout(onDone, toastMs);
    const onKey = (event: KeyboardEvent): void => {
      if (event.key === 'u' && !isTyping(event)) undoIt();
    };
    addEventListener('keydown', onKey);
    return () => {
      clearTimeout(timer);
      removeEventListener('keydown', onKey);
    };
  });
  return (
    <div class="toast">
      <span>{message}</span>
      {undo === undefined ? null : (
        <button type="button" disabled={isBusy} onClick={undoIt}>
          {undo.label} <kbd>u</kbd>
        </button>
      )}
      <button
        type="button"
        class="plain"
        aria-label="Dismiss"
        onClick={() => {
          onDone();
        }}
      >
        ✕
      </button>
    </div>
  );
}

/** Whether keys go into a field. */
export function isTyping(event: KeyboardEvent): boolean {
  if (event.ctrlKey || event.metaKey || event.altKey) return true;
  const { target } = event;
  if (!(target instanceof HTMLElement)) return false;
  return target.closest('input, textarea, select, dialog') !== null;
}

function ActDialog({ act, onClose }: { readonly act: Act; readonly onClose: (done?: Done) => void }): VNode {
  const dialog = useRef<HTMLDialogElement>(null);
  const initial = act.field?.kind === 'override' ? act.field.initial : {};
  const [input, setInput] = useState<ActInput>({
    reason: '',
    by: localStorage.getItem(byKey) ?? '',
    forMs: undefined,
    override: initial,
    overMs: 60_000,
  });
  const [effect, setEffect] = useState('…');
  const [isKnown, setKnown] = useState(false);
  const [failure, setFailure] = useState('');
  const [isBusy, setBusy] = useState(false);
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  useEffect(() => {
    let isLate = false;
    act.describeEffect(input).then(
      (text) => {
        if (isLate) return;
        setEffect(text);
        setKnown(true);
      },
      (error: unknown) => {
        if (!isLate) setEffect(`The effect cannot be told: ${explain(error)}`);
      },
    );
    return () => {
      isLate = true;
    };
  }, [act, input.override, input.overMs]);
  const change = (more: Partial<ActInput>): void => {
    setInput({ ...input, ...more });
  };
  const submit = (event: Event): void => {
    event.preventDefault();
    setBusy(true);
    localStorage.setItem(byKey, input.by);
    act.run(input).then(onClose, (error: unknown) => {
      setBusy(false);
      setFailure(explain(error));
    });
  };
  return (
    <dialog
      ref={dialog}
      aria-labelledby="act-title"
      aria-describedby="act-effect"
      onClose={() => {
        onClose();
      }}
    >
      <form onSubmit={submit}>
        <h2 id="act-title">{act.title}</h2>
        <p id="act-effect" class={act.isDangerous ? 'effect dangerous' : 'effect'}>
          {effect}
        </p>
        {act.field?.kind === 'override' ? (
          <OverrideFields
            override={input.override}
            onChange={(override) => {
              change({ override });
            }}
          />
        ) : null}
        {act.field?.kind === 'over' ? (
          <label>
            Over, in seconds
            <input
              type="number"
              min={1}
              max={86_400}
              required
              value={input.overMs / 1000}
              onInput={({ currentTarget }) => {
                change({ overMs: Math.max(1, Math.round(Number(currentTarget.value))) * 1000 });
              }}
            />
          </label>
        ) : null}
        {act.isOrder ? <OrderFields input={input} onChange={change} /> : null}
        <p class="failure" role="alert">
          {failure}
        </p>
        <div class="buttons">
          <button type="button" class="plain" onClick={() => dialog.current?.close()}>
            Cancel
          </button>
          <button type="submit" class={act.isDangerous ? 'danger' : 'primary'} disabled={isBusy || !isKnown}>
            {act.verb}
          </button>
        </div>
      </form>
    </dialog>
  );
}

function OrderFields({
  input,
  onChange,
}: {
  readonly input: ActInput;
  readonly onChange: (more: Partial<ActInput>) => void;
}): VNode {
  return (
    <div class="fields">
      <label>
        For how long
        <select
          value={String(input.forMs ?? '')}
          onChange={({ currentTarget }) => {
            onChange({ forMs: currentTarget.value === '' ? undefined : Number(currentTarget.value) });
          }}
        >
          {durations.map(([ms, text]) => (
            <option key={ms} value={ms}>
              {text}
            </option>
          ))}
        </select>
      </label>
      <label>
        Who
        <input
          value={input.by}
          autoComplete="name"
          maxLength={64}
          onInput={({ currentTarget }) => {
            onChange({ by: currentTarget.value });
          }}
        />
      </label>
      <label class="wide">
        Why
        <input
          value={input.reason}
          maxLength={200}
          onInput={({ currentTarget }) => {
            onChange({ reason: currentTarget.value });
          }}
        />
      </label>
    </div>
  );
}

function OverrideFields({
  override,
  onChange,
}: {
  readonly override: InstanceOverride;
  readonly onChange: (override: InstanceOverride) => void;
}): VNode {
  const [metadata, setMetadata] = useState(() =>
    Object.entries(override.metadata ?? {})
      .map(([name, value]) => `${name}=${value}`)
      .join('\n'),
  );
  const change = (more: { readonly [F in keyof InstanceOverride]: InstanceOverride[F] | undefined }): void => {
    const entries = Object.entries({ ...override, ...more }).filter(([, value]) => value !== undefined);
    onChange(Object.fromEntries(entries));
  };
  return (
    <div class="fields">
      <label>
        Takes traffic
        <select
          value={String(override.enabled ?? '')}
          onChange={({ currentTarget: { value } }) => {
            change({ enabled: value === '' ? undefined : value === 'true' });
          }}
        >
          <option value="">as registered</option>
          <option value="true">enabled</option>
          <option value="false">disabled</option>
        </select>
      </label>
      <label>
        Weight
        <input
          type="number"
          min={0}
          max={10_000}
          placeholder="as registered"
          value={override.weight ?? ''}
          onInput={({ currentTarget: { value } }) => {
            change({ weight: value === '' ? undefined : Number(value) });
          }}
        />
      </label>
      <label>
        Zone
        <input
          placeholder="as registered"
          value={override.zone ?? ''}
          onInput={({ currentTarget: { value } }) => {
            change({ zone: value === '' ? undefined : value });
          }}
        />
      </label>
      <label class="wide">
        Metadata, a line each: name=value
        <textarea
          rows={2}
          value={metadata}
          onInput={({ currentTarget: { value } }) => {
            setMetadata(value);
            const pairs = value.split('\n').filter((line) => line.includes('='));
            const entries = pairs.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]);
            change({
              metadata: entries.length === 0 ? undefined : (Object.fromEntries(entries) as Record<string, string>),
            });
          }}
        />
      </label>
    </div>
  );
}

/** What can be typed at one place of the command line. */
export interface Place {
  /** The commands before it, such as `slotcast/kv/get`. */
  readonly path: string;
  readonly words: readonly Word[];
  /** Whether it may be the name of a file. */
  readonly takesFile: boolean;
  readonly options: readonly (Word & { readonly value: Value | undefined })[];
}

interface Word {
  readonly word: string;
  readonly description: string;
}

/** What an option takes. */
interface Value {
  /** Those that there are; none: nobody knows them. */
  readonly words: readonly string[];
  readonly isFile: boolean;
}

const allPaths = (places: readonly Place[], separator: string): string =>
  places.map(({ path }) => quote(path)).join(separator);

/** As POSIX shells and zsh read it as it is. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function joinWords(words: readonly { readonly word: string }[]): string {
  return words.map(({ word }) => word).join(' ');
}

export function formatBash(places: readonly Place[]): string {
  const values = places.flatMap(({ path, options }) =>
    options.flatMap(({ word, value }) =>
      value === undefined
        ? []
        : [
            `    ${quote(`${path} ${word}`)}) ${value.isFile ? 'compopt -o default' : `words=${quote(value.words.join(' '))}`} ;;`,
          ],
    ),
  );
  const words = places.map(
    ({ path, words, takesFile, options }) =>
      `        ${quote(path)}) words=${quote(joinWords(words))} options=${quote(joinWords(options))}${takesFile ? ' file=yes' : ''} ;;`,
  );
  return `# bash completion for slotcast
_slotcast() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} place=slotcast words= options= file= i
  for ((i = 1; i < COMP_CWORD; i++)); do
    # What follows is a command line of its own.
    if [[ \${COMP_WORDS[i]} == -- ]]; then compopt -o default; return; fi
    case $place/\${COMP_WORDS[i]} in
      ${allPaths(places, '|')}) place=$place/\${COMP_WORDS[i]} ;;
    esac
  done
  case "$place $prev" in
${values.join('\n')}
    *)
      case $place in
${words.join('\n')}
      esac
      if [[ $cur == -* || -z $words$file ]]; then words=$options
      elif [[ -n $file ]]; then compopt -o default; fi
      ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _slotcast slotcast
`;
}

/** As `_describe` takes it. */
function describe({ word, description }: Word): string {
  return quote(`${word.replaceAll(':', '\\:')}${description === '' ? '' : `:${description}`}`);
}

export function formatZsh(places: readonly Place[]): string {
  const values = places.flatMap(({ path, options }) =>
    options.flatMap(({ word, value }) =>
      value === undefined
        ? []
        : [
            `    ${quote(`${path} ${word}`)}) ${value.isFile ? '_files' : `candidates=(${value.words.map(quote).join(' ')}); compadd -a candidates`}; return ;;`,
          ],
    ),
  );
  const words = places.map(
    ({ path, words, takesFile, options }) =>
      `    ${quote(path)})\n      candidates=(${words.map((word) => describe(word)).join(' ')})\n      options=(${options.map((option) => describe(option)).join(' ')})${takesFile ? '\n      file=yes' : ''}\n      ;;`,
  );
  return `#compdef slotcast
_slotcast() {
  local place=slotcast file= i
  local -a candidates options
  for ((i = 2; i < CURRENT; i++)); do
    # What follows is a command line of its own.
    if [[ $words[i] == -- ]]; then _files; return; fi
    case $place/$words[i] in
      ${allPaths(places, '|')}) place=$place/$words[i] ;;
    esac
  done
  case "$place $words[CURRENT-1]" in
${values.join('\n')}
  esac
  case $place in
${words.join('\n')}
  esac
  if [[ $words[CURRENT] == -* || ( $#candidates == 0 && -z $file ) ]]; then _describe option options
  else
    (( $#candidates == 0 )) || _describe command candidates
    [[ -z $file ]] || _files
  fi
}
if [[ $funcstack[1] == _slotcast ]]; then _slotcast "$@"; else compdef _slotcast slotcast; fi
`;
}

/** In single quotes fish reads a backslash before a quote or a backslash. */
function quoteFish(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}

export function formatFish(places: readonly Place[]): string {
  const lines = places.flatMap(({ path, words, takesFile, options }) => {
    const at = `complete -c slotcast -n '__slotcast_at ${path}'`;
    return [
      ...words.map(({ word, description }) => `${at} -a ${quoteFish(word)} -d ${quoteFish(description)}`),
      ...(takesFile ? [`${at} -F`] : []),
      ...options.map(({ word, description, value }) => {
        const takes = value === undefined ? '' : value.isFile ? ' -r -F' : ` -x -a ${quoteFish(value.words.join(' '))}`;
        return `${at} -l ${word.replace(/^--/, '')} -d ${quoteFish(description)}${takes}`;
      }),
    ];
  });
  return `# fish completion for slotcast
function __slotcast_at
  set -l place slotcast
  for word in (commandline -opc)[2..-1]
    # What follows is a command line of its own.
    test "$word" = --; and set place --; and break
    switch "$place/$word"
      case ${allPaths(places, ' ')}
        set place "$place/$word"
    end
  end
  test "$place" = "$argv[1]"
end
complete -c slotcast -f
complete -c slotcast -n '__slotcast_at --' -F
${lines.join('\n')}
`;
}

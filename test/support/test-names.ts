import ts from 'typescript';

const testFunctions = new Set(['test', 'it']);
/** What a call may be modified by and still run its tests. */
const running = new Set(['each', 'for', 'concurrent', 'sequential', 'only', 'fails']);

/** What is called: `test`, `test.each(…)`, `describe.skip`; undefined if it is no plain chain of names. */
interface Callee {
  readonly root: string;
  readonly modifiers: readonly string[];
}

/**
 * The names under which the tests of a file run: each name of a test, after those of the blocks around it. Tests that are skipped, and
 * whatever stands in comments, are not among them.
 */
export function readTestNames(fileName: string, text: string): string[] {
  const names: string[] = [];
  const visit = (node: ts.Node, around: string): void => {
    if (ts.isCallExpression(node)) {
      const callee = readCallee(node.expression);
      if (callee !== undefined && (callee.root === 'describe' || testFunctions.has(callee.root))) {
        // A call that only makes the function that is then called, as in `test.each(cases)`, has no body.
        const body = node.arguments.find((argument) => ts.isFunctionLike(argument));
        if (body !== undefined) {
          if (!callee.modifiers.every((modifier) => running.has(modifier))) return;
          const name = `${around}${readText(node.arguments[0])} `;
          if (testFunctions.has(callee.root)) names.push(name.trim());
          else ts.forEachChild(body, (child) => visit(child, name));
          return;
        }
      }
    }
    ts.forEachChild(node, (child) => visit(child, around));
  };
  visit(ts.createSourceFile(fileName, text, ts.ScriptTarget.Latest, true), '');
  return names;
}

function readCallee(node: ts.Expression): Callee | undefined {
  if (ts.isIdentifier(node)) return { root: node.text, modifiers: [] };
  if (ts.isCallExpression(node) || ts.isTaggedTemplateExpression(node)) {
    return readCallee(ts.isCallExpression(node) ? node.expression : node.tag);
  }
  if (!ts.isPropertyAccessExpression(node)) return undefined;
  const inner = readCallee(node.expression);
  return inner === undefined ? undefined : { root: inner.root, modifiers: [...inner.modifiers, node.name.text] };
}

/** The text of a name; what is filled into a template is left out. */
function readText(node: ts.Expression | undefined): string {
  if (node === undefined) return '';
  if (ts.isStringLiteralLike(node)) return node.text;
  if (ts.isTemplateExpression(node)) {
    return [node.head.text, ...node.templateSpans.map(({ literal }) => literal.text)].join('…');
  }
  return '';
}

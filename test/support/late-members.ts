import ts from 'typescript';

/** Where the constructor of a class assigns members first, of those without initializers. */
type Assignments = ReadonlyMap<string, number>;

/**
 * Members that are handed out before they are assigned, as `line: member`: read in a closure that a constructor or an initializer makes, or in a method that a constructor
 * calls, while the constructor assigns them only further down. Whoever is given the closure must not call it yet, and nothing says so.
 */
export function findLateMembers(file: string, text: string): string[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const found: string[] = [];
  visit(source, (node) => {
    if (!ts.isClassLike(node)) return;
    for (const read of lateReads(node)) {
      const { line } = source.getLineAndCharacterOfPosition(read.getStart());
      found.push(`${file}:${line + 1} ${read.getText()}`);
    }
  });
  return found;
}

function* lateReads(declaration: ts.ClassLikeDeclaration): Generator<ts.Node> {
  const constructor = declaration.members.find(ts.isConstructorDeclaration);
  const body = constructor?.body;
  if (body === undefined) return;
  const initialized = new Set(
    declaration.members.flatMap((member) =>
      ts.isPropertyDeclaration(member) && member.initializer !== undefined ? [member.name.getText()] : [],
    ),
  );
  const assigned = findAssignments(body, initialized);
  const methods = new Map(
    declaration.members.flatMap((member) =>
      ts.isMethodDeclaration(member) && member.body !== undefined
        ? [[member.name.getText(), member.body] as const]
        : [],
    ),
  );
  for (const member of declaration.members) {
    if (ts.isPropertyDeclaration(member) && member.initializer !== undefined && !isFunction(member.initializer)) {
      for (const closure of closuresIn(member.initializer)) yield* readsAfter(closure, -1, assigned);
    }
  }
  for (const closure of closuresIn(body)) yield* readsAfter(closure, closure.end, assigned);
  for (const { name, end } of callsIn(body)) {
    const method = methods.get(name);
    if (method !== undefined) yield* readsAfter(method, end, assigned);
  }
}

function findAssignments(body: ts.Node, initialized: ReadonlySet<string>): Assignments {
  const assigned = new Map<string, number>();
  visitOutsideClosures(body, (node) => {
    if (!ts.isBinaryExpression(node) || node.operatorToken.kind !== ts.SyntaxKind.EqualsToken) return;
    const name = memberName(node.left);
    if (name !== undefined && !initialized.has(name) && !assigned.has(name)) assigned.set(name, node.end);
  });
  return assigned;
}

/** Members read in a function that are assigned after a place. */
function* readsAfter(code: ts.Node, place: number, assigned: Assignments): Generator<ts.Node> {
  const reads: ts.Node[] = [];
  visit(code, (node) => {
    const name = memberName(node);
    const isAssigned = ts.isBinaryExpression(node.parent) && node.parent.left === node;
    if (name !== undefined && !isAssigned && (assigned.get(name) ?? -1) > place) reads.push(node);
  });
  yield* reads;
}

function closuresIn(node: ts.Node): ts.Node[] {
  const closures: ts.Node[] = [];
  visitOutsideClosures(node, (inner) => {
    if (isFunction(inner)) closures.push(inner);
  });
  return closures;
}

function callsIn(body: ts.Node): { readonly name: string; readonly end: number }[] {
  const calls: { name: string; end: number }[] = [];
  visitOutsideClosures(body, (node) => {
    const name = ts.isCallExpression(node) ? memberName(node.expression) : undefined;
    if (name !== undefined) calls.push({ name, end: node.end });
  });
  return calls;
}

/** Of `this.name`. */
function memberName(node: ts.Node): string | undefined {
  return ts.isPropertyAccessExpression(node) && node.expression.kind === ts.SyntaxKind.ThisKeyword
    ? node.name.text
    : undefined;
}

function isFunction(node: ts.Node): boolean {
  return ts.isArrowFunction(node) || ts.isFunctionExpression(node);
}

function visit(node: ts.Node, take: (node: ts.Node) => void): void {
  take(node);
  ts.forEachChild(node, (child) => {
    visit(child, take);
  });
}

/** Closures themselves are seen, what is in them is not. */
function visitOutsideClosures(node: ts.Node, take: (node: ts.Node) => void): void {
  take(node);
  if (isFunction(node)) return;
  ts.forEachChild(node, (child) => {
    visitOutsideClosures(child, take);
  });
}

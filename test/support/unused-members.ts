import path from 'node:path';

import ts from 'typescript';

import { root } from './source-files.ts';

/** What users of the package import. */
const entries = ['src/main/index.ts', 'src/main/testing.ts', 'src/client/index.ts', 'src/client/file-cache.ts'];

type Member = ts.ClassElement;

/**
 * Members of classes under `src` that nothing reads, calls or destructures, as `file: Owner.member`. What is declared by Node or the language, too, is for others to use,
 * as the name of an error.
 */
export function findUnusedMembers(): string[] {
  const program = createProgram();
  const checker = program.getTypeChecker();
  const files = program.getSourceFiles().filter(({ fileName }) => !fileName.includes('/node_modules/'));
  const isPublic = new Set<ts.Node>(entries.flatMap((entry) => listExports(program, checker, entry)));
  const used = new Set<ts.Declaration>();
  for (const file of files) collectUses(file, checker, used);
  return files
    .filter(({ fileName }) => fileName.startsWith(`${root}src/`))
    .flatMap((file) => listMembers(file))
    .filter((member) => !isPublic.has(member.parent))
    .filter(
      (member) =>
        !relatedDeclarations(member, checker).some((declaration) => used.has(declaration) || isForeign(declaration)),
    )
    .map((member) => describe(member));
}

function listExports(program: ts.Program, checker: ts.TypeChecker, entry: string): ts.Declaration[] {
  const file = program.getSourceFile(`${root}${entry}`);
  const module = file === undefined ? undefined : checker.getSymbolAtLocation(file);
  if (module === undefined) throw new Error(`${entry} is no module`);
  return checker
    .getExportsOfModule(module)
    .map((symbol) => (symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol))
    .flatMap((symbol) => symbol.declarations ?? []);
}

function isForeign(declaration: ts.Declaration): boolean {
  return declaration.getSourceFile().fileName.includes('/node_modules/');
}

function createProgram(): ts.Program {
  const host: ts.ParseConfigFileHost = {
    ...ts.sys,
    onUnRecoverableConfigFileDiagnostic: ({ messageText }) => {
      throw new Error(ts.flattenDiagnosticMessageText(messageText, '\n'));
    },
  };
  const config = ts.getParsedCommandLineOfConfigFile(`${root}tsconfig.json`, {}, host);
  if (config === undefined) throw new Error('tsconfig.json cannot be read');
  return ts.createProgram(config.fileNames, config.options);
}

function collectUses(node: ts.Node, checker: ts.TypeChecker, used: Set<ts.Declaration>): void {
  const symbol = readUse(node, checker);
  for (const declaration of symbol?.declarations ?? []) used.add(declaration);
  ts.forEachChild(node, (child) => collectUses(child, checker, used));
}

/** What a name stands for where it is used; not where it is declared, and not where a literal gives it a value. */
function readUse(node: ts.Node, checker: ts.TypeChecker): ts.Symbol | undefined {
  if (ts.isBindingElement(node)) {
    const name = node.propertyName ?? node.name;
    if (node.dotDotDotToken !== undefined || !ts.isIdentifier(name)) return undefined;
    return checker.getTypeAtLocation(node.parent).getProperty(name.text);
  }
  if (ts.isPropertyAccessExpression(node)) return checker.getSymbolAtLocation(node.name);
  if (ts.isElementAccessExpression(node)) return checker.getSymbolAtLocation(node.argumentExpression);
  if (ts.isIndexedAccessTypeNode(node) && ts.isLiteralTypeNode(node.indexType)) {
    const { literal } = node.indexType;
    return ts.isStringLiteral(literal)
      ? checker.getTypeAtLocation(node.objectType).getProperty(literal.text)
      : undefined;
  }
  return undefined;
}

function listMembers(file: ts.SourceFile): Member[] {
  const members: Member[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isClassDeclaration(node)) {
      for (const member of node.members) {
        const { name } = member;
        if (name !== undefined && (ts.isIdentifier(name) || ts.isPrivateIdentifier(name))) members.push(member);
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return members;
}

/** The member itself, and those of the same name that its owner takes from what it extends or implements. */
function relatedDeclarations(member: Member, checker: ts.TypeChecker): readonly ts.Declaration[] {
  const { heritageClauses = [] } = member.parent as ts.ClassDeclaration;
  const { text } = member.name as ts.Identifier;
  const inherited = heritageClauses
    .flatMap(({ types }) => types)
    .flatMap((type) => checker.getTypeAtLocation(type).getProperty(text)?.declarations ?? []);
  return [member, ...inherited.flatMap((each) => (isMember(each) ? relatedDeclarations(each, checker) : [each]))];
}

function isMember(declaration: ts.Declaration): declaration is Member {
  return ts.isClassElement(declaration) && ts.isClassDeclaration(declaration.parent);
}

function describe(member: Member): string {
  const owner = member.parent as ts.ClassDeclaration;
  const file = path.relative(root, member.getSourceFile().fileName);
  return `${file}: ${owner.name?.text ?? ''}.${(member.name as ts.Identifier).text}`;
}

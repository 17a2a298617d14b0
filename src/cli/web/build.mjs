// build.mjs -- bundles the page:   node build.mjs MODULES OUTPUT
//
// MODULES is the directory node_modules that `npm ci` made. One file comes out, which opens without
// a network: page.html with style and script in it, and the licences of what was bundled as a
// comment on top of the script. Only esbuild knows what was bundled, so its list is asked.
import { createRequire } from 'node:module';
import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const [modules, output] = process.argv.slice(2).map((path) => resolve(path));
const here = dirname(fileURLToPath(import.meta.url));
const { build } = createRequire(join(modules, 'x.js'))('esbuild');

function bundledPackages(inputs) {
  const found = Object.keys(inputs).map((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path));
  return [...new Set(found.filter(Boolean).map((match) => match[1]))].sort();
}

function licence(name) {
  const { version, license } = JSON.parse(
    readFileSync(join(modules, name, 'package.json'), 'utf8'),
  );
  const text = readFileSync(join(modules, name, 'LICENSE'), 'utf8').trim();
  return `${name} ${version}, ${license}\n\n${text.replaceAll('*/', '* /')}`;
}

// Nothing in it may end the element that it stands in.
function inElement(text, element) {
  return text.replaceAll(new RegExp(`</(?=${element})`, 'gi'), '<\\/').replaceAll('<!--', '<\\!--');
}

const bundle = await build({
  entryPoints: [join(here, 'main.js')],
  outfile: join(here, 'page.js'),
  write: false,
  bundle: true,
  minify: true,
  metafile: true,
  format: 'iife',
  charset: 'ascii',
  target: ['chrome100', 'firefox100', 'safari15.4'],
  legalComments: 'none',
  nodePaths: [modules],
  absWorkingDir: here,
});
const file = (ending) => bundle.outputFiles.find(({ path }) => path.endsWith(ending)).text;
const licences = bundledPackages(bundle.metafile.inputs).map(licence).join('\n\n----\n\n');

const page = readFileSync(join(here, 'page.html'), 'utf8')
  .replace('/*STYLE*/', () => inElement(file('.css'), 'style'))
  .replace('/*SCRIPT*/', () => inElement(`/*!\n${licences}\n*/\n${file('.js')}`, 'script'));
writeFileSync(output, page);

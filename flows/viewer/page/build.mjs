// Bundles the page's script into ../static (or the folder given), with the licences of what is in it.
import { build } from "esbuild";
import { existsSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const target = process.argv[2] ?? "../static";
const result = await build({
  entryPoints: ["source/main.js"], bundle: true, minify: true, format: "iife", target: "es2022", charset: "utf8",
  legalComments: "none", metafile: true, outfile: join(target, "explorer.js"),
});

const used = new Set(Object.keys(result.metafile.inputs).flatMap((path) => {
  const found = path.match(/node_modules\/((?:@[^/]+\/)?[^/]+)/);
  return found ? [found[1]] : [];
}));
const licence = (name) => {
  const folder = join("node_modules", name);
  const facts = JSON.parse(readFileSync(join(folder, "package.json")));
  const file = readdirSync(folder).find((each) => /^licen[cs]e/i.test(each));
  const text = file && existsSync(join(folder, file)) ? readFileSync(join(folder, file), "utf8").trim() : "";
  return `${name} ${facts.version} (${facts.license})\n\n${text}\n`;
};
writeFileSync(join(target, "licences.txt"), [...used].sort().map(licence).join("\n----\n\n"));

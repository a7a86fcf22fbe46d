/** From a name or files to a model that can be run: fetch, check, place in memory, once for each. */

import { EngineError, type Edit, type ModelInfo, type Progress, type Shipped, type Source } from "./api";
import { placeAdapter } from "./adapter";
import { readConfig, type Config } from "./config";
import { readAdapter, readBundle, type AdapterFile, type Tensor } from "./format";
import { requireMemory, requireSimd } from "./guard";
import { openKernel } from "./kernel";
import type { NamedAdapter } from "./open_adapter";
import { Model } from "./model";
import { untrained } from "./random";
import { Session } from "./session";
import { Shared } from "./shared";
import type { Site } from "./site";
import { Tokenizer } from "./tokenizer";
import { placeWeights } from "./weights";

/** A model under one name. Adapters share their model's session, and are switched on by an edit. */
export interface Loaded {
  id: string;
  title: string;
  session: Session;
  tokenizer: Tokenizer;
  /** What names the tokenizer: models whose names are equal cut text alike. */
  tokens: string;
  /** Hash of the weights, by which adapters know their model. */
  hash: string;
  edits: Edit[];
  /** Of an adapter: the id of the model that it changes. */
  base?: string;
}

type Tell = (progress: Progress) => void;
type Own = Extract<Source, { kind: "files" }>;
const TOKENIZER = ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"];
const SEED = 0;

export class Loader {
  private readonly models = new Map<string, Shared<Loaded>>();
  private list: Promise<Shipped[]> | undefined;

  constructor(private readonly site: Site) {}

  shipped(): Promise<Shipped[]> {
    this.list ??= this.site.list(`${this.site.folder}models.json`).then((list) => {
      if (Array.isArray(list)) return list as Shipped[];
      throw new EngineError("The site's list of models is damaged; reload the page.", "damaged");
    });
    this.list.catch(() => (this.list = undefined));
    return this.list;
  }

  loaded(id: string): Promise<Loaded> | undefined {
    return this.models.get(id)?.answer;
  }

  put(model: Loaded): void {
    this.models.set(model.id, new Shared(() => Promise.resolve(model)));
  }

  /** Forget a model; what an adapter held of its model's memory is given back. */
  drop(id: string): void {
    this.release(this.models.get(id)?.value);
    this.models.delete(id);
  }

  load(source: Source, tell?: Tell, signal?: AbortSignal): Promise<Loaded> {
    if (source.kind === "files") {
      const id = `own:${source.name}`;
      const before = this.models.get(id);
      this.models.delete(id);
      const renew = async (all: Tell, stop: AbortSignal): Promise<Loaded> => {
        const made = await this.fromFiles(id, source, all, stop);
        this.release(before?.value, made.session);
        return made;
      };
      return this.once(id, renew, tell, signal, before);
    }
    return this.once(source.id, (all, stop) => this.fromSite(source.id, all, stop), tell, signal);
  }

  /** A load that fails is forgotten, so that it can be tried again; what had the name `before` has it again. */
  private once(id: string, work: (tell: Tell, signal: AbortSignal) => Promise<Loaded>, tell?: Tell, signal?: AbortSignal, before?: Shared<Loaded>): Promise<Loaded> {
    let load = this.models.get(id);
    if (!load || load.stopped) {
      const fresh = (load = new Shared(work));
      this.models.set(id, fresh);
      fresh.answer.catch(() => {
        if (this.models.get(id) !== fresh) return;
        if (before && stands(before.value)) this.models.set(id, before);
        else this.models.delete(id);
      });
    }
    return load.join(tell, signal);
  }

  private async entry(id: string): Promise<Shipped> {
    const found = (await this.shipped()).find((entry) => entry.id === id);
    if (!found) throw new EngineError(`The site has no model “${id}”.`, "missing");
    return found;
  }

  private async fromSite(id: string, tell?: Tell, signal?: AbortSignal): Promise<Loaded> {
    requireSimd(); // before anything is fetched
    const entry = await this.entry(id);
    requireMemory(2 * entry.bytes, entry.title); // as it comes, and in the kernel's memory
    if (entry.base && entry.folder) return this.adapter(entry, entry.base, tell, signal);
    const origin = entry.base ? await this.entry(entry.base) : entry;
    const files = new Files(this.site, entry.bytes, tell, signal);
    const texts = new Map<string, string>();
    for (const name of TOKENIZER) {
      const bytes = await files.get(origin, name);
      if (bytes) texts.set(name, new TextDecoder().decode(bytes));
    }
    if (!entry.folder) {
      const config = readConfig(entry.config ?? {});
      return start(entry, config, untrained(config, SEED), texts, "");
    }
    const bin = await files.get(entry, "model.bin");
    if (!bin) throw new EngineError(`The site's list names no weights for “${id}”.`, "missing");
    const bundle = readBundle(bin);
    return start(entry, bundle.config, bundle.tensors, texts, bundle.sha256);
  }

  private async adapter(entry: Shipped, baseId: string, tell?: Tell, signal?: AbortSignal): Promise<Loaded> {
    const files = new Files(this.site, entry.bytes, tell, signal);
    const base = await this.once(baseId, (all, stop) => this.fromSite(baseId, all, stop), files.part(), signal);
    const bin = await files.get(entry, "adapter.bin");
    if (!bin) throw new EngineError(`The site's list names no weights for “${entry.id}”.`, "missing");
    return adapted(entry, base, readAdapter(bin));
  }

  /** Take an adapter out of the memory of its model, unless another one stands on it or takes its place there. */
  private release(gone: Loaded | undefined, heir?: Session): void {
    if (gone?.base === undefined || gone.session === heir) return;
    const { id, session } = gone;
    const onIt = ({ value }: Shared<Loaded>): boolean =>
      value !== undefined && value.id !== id && value.session === session && value.edits.some((edit) => edit.kind === "adapter" && edit.id === id);
    if (![...this.models.values()].some(onIt)) session.drop(id);
  }

  private async fromFiles(id: string, { name, files, onto }: Own, tell?: Tell, signal?: AbortSignal): Promise<Loaded> {
    requireSimd();
    const { bin, adapter, beside, name: folder } = await this.site.openFiles(files, tell, signal);
    const model = async (id: string, title: string): Promise<Loaded> => {
      const { config, tensors, sha256 } = readBundle(bin!);
      return start({ id, title }, config, tensors, beside, sha256);
    };
    if (!adapter) return model(id, name);
    if (!bin) return adapted({ id, title: name }, await this.baseOf(adapter, id, onto, tell, signal), adapter.file);
    // Both came together: the whole drop's name is the adapter's, the model keeps its folder's.
    const title = folder && folder !== name ? folder : `${name}, without its adapter`;
    const base = await model(`own:${title}`, title);
    const changed = adapted({ id, title: adapter.name || name }, base, adapter.file);
    this.put(base);
    return changed;
  }

  /** The model that a lone adapter changes: the one of its hash, the one that it names, or the one at hand. */
  private async baseOf({ base, file }: NamedAdapter, id: string, onto: string | undefined, tell?: Tell, signal?: AbortSignal): Promise<Loaded> {
    const others = [...this.models].filter(([known]) => known !== id).map(([, load]) => load.answer);
    const open = (await Promise.allSettled(others)).flatMap((load) => (load.status === "fulfilled" ? [load.value] : []));
    const called = (model: Loaded): boolean => base !== "" && [model.id, model.title, model.id.replace(/^own:/, "")].includes(base);
    const found = open.find((model) => (file.base ? model.hash === file.base && model.base === undefined : called(model)));
    if (found) return found;
    const shipped = base && (await this.shipped().catch(() => [])).find((entry) => entry.id === base && entry.stage !== "random");
    if (shipped) return this.once(base, (all, stop) => this.fromSite(base, all, stop), tell, signal);
    const near = file.base ? undefined : open.find((model) => model.id === onto);
    if (near) return near;
    const named = base ? `, which it calls “${base}”` : "";
    throw new EngineError(`This is a LoRA adapter: it changes another model${named}. Open that model first, then the adapter; or drop both folders together.`, "missing");
  }
}

/** Whether what was loaded can still be run: of an adapter that its session has it. */
function stands(model: Loaded | undefined): boolean {
  return model !== undefined && (model.base === undefined || model.session.adapters.has(model.id));
}

/** The base with an adapter on it, under a name of its own; they share what they hold. */
function adapted(named: { id: string; title: string }, base: Loaded, file: AdapterFile): Loaded {
  const { session } = base;
  placeAdapter(named.id, file, session, base.hash);
  return { ...base, id: named.id, title: named.title, base: base.id, edits: [...base.edits, { kind: "adapter", id: named.id, scale: 1 }] };
}

/** A model that can be run, from what its files say. EngineError where they do not fit together. */
export async function start(
  named: { id: string; title: string }, config: Config, tensors: Map<string, Tensor>, texts: Map<string, string>, hash: string,
): Promise<Loaded> {
  const [json, about, template] = TOKENIZER.map((name) => texts.get(name));
  if (json === undefined) throw new EngineError("The model has no tokenizer.json, so it cannot read text; add the file to its folder.", "missing");
  const tokenizer = new Tokenizer(json, about, template);
  const arena = await openKernel();
  const session = new Session(new Model(config, placeWeights(config, tensors, arena), arena));
  return { id: named.id, title: named.title, session, tokenizer, tokens: json, hash, edits: [] };
}

export function describe({ id, title, session, tokenizer, base }: Loaded): ModelInfo {
  const { config, weights, cacheBytes } = session.model;
  const { family, layers, heads, kvHeads, headSize, hidden, vocabulary, context, experts, expertsPerToken } = config;
  return {
    id, title, family, parameters: weights.parameters, layers, heads, kvHeads, headSize, hidden,
    intermediate: config.widths[0]!, vocabulary, context, windows: config.windows.map((window) => window || null),
    experts, expertsPerToken, adapters: [...session.adapters.keys()], weightBytes: weights.bytes,
    cacheBytesPerToken: cacheBytes, hasChatTemplate: tokenizer.hasTemplate,
    ...(base === undefined ? {} : { base }),
  };
}

/** The files of one load, whose progress is told as one sum. */
class Files {
  private readonly told: Progress[] = [];

  constructor(
    private readonly site: Site,
    private readonly total: number,
    private readonly tell?: Tell,
    private readonly signal?: AbortSignal,
  ) {}

  part(): Tell {
    const at = this.told.push({ loaded: 0, total: 0, from: "cache" }) - 1;
    return (progress) => {
      this.told[at] = progress;
      const loaded = this.told.reduce((sum, one) => sum + one.loaded, 0);
      this.tell?.({ ...progress, loaded, total: Math.max(loaded, this.total) });
    };
  }

  /** A file of a model that the site ships; undefined where the model has none of this name. */
  async get(entry: Shipped, name: string): Promise<ArrayBuffer | undefined> {
    const file = entry.files?.find((one) => one.name === name);
    if (!file) return undefined;
    return this.site.fetchBundle(`${this.site.folder}${entry.folder}/${name}`, file, this.part(), this.signal);
  }
}

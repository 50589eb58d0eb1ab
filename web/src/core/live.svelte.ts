// In the studio a page follows what it shows: it asks for the document again and again, and says when nobody answers.
import { askFor, keepOnly } from './blobs';
import { askForCurves } from './series';
import type { ReportDocument } from './contract';

const SILENT = 10; // pauses without an answer after which the reader is told
const LONGEST = 15_000; // ms between two questions
const GIVEN_UP = 120_000; // ms after which a question that nobody answers is asked again

export interface Shown { report: ReportDocument; trouble: string; updated: number }

/** Every block that a document refers to. */
export function blobsOf(value: unknown, found = new Set<number>()): Set<number> {
  if (Array.isArray(value)) for (const item of value) blobsOf(item, found);
  else if (value && typeof value === 'object') {
    const blob = (value as { blob?: unknown }).blob;
    if (typeof blob === 'number') found.add(blob);
    for (const item of Object.values(value)) if (item && typeof item === 'object') blobsOf(item, found);
  }
  return found;
}

/** The document as something that changes; asked for while the page is in view, less often when that takes long. */
export function follow(report: ReportDocument): Shown {
  const shown = $state<Shown>({ report, trouble: '', updated: Date.now() });
  if (!report.live) return shown;
  askFor(report.live.blobs);
  askForCurves(report.live.curves);
  let pause = report.live.seconds * 1000;

  function told(why = ''): void {
    shown.trouble = `The studio does not answer; this is the state of ${new Date(shown.updated).toLocaleTimeString()}. ${why}`.trim();
  }

  async function once(): Promise<void> {
    const { address, stamp, seconds } = shown.report.live!;
    const begun = performance.now();
    const answer = await fetch(`${address}${address.includes('?') ? '&' : '?'}stamp=${encodeURIComponent(stamp)}`, { signal: AbortSignal.timeout(GIVEN_UP) });
    if (answer.status === 200) {
      const next = (await answer.json()) as ReportDocument;
      // panels of before may still be decoding, so the blocks of both are kept
      keepOnly(blobsOf(next.sections, blobsOf($state.snapshot(shown.report.sections))));
      shown.report = next;
      shown.updated = Date.now();
    } else if (answer.status !== 204) throw new Error(`the studio answered ${answer.status}`);
    shown.trouble = '';
    pause = Math.min(Math.max(seconds * 1000, 4 * (performance.now() - begun)), LONGEST);
  }

  async function again(): Promise<void> {
    // a process that hangs, or a connection that nobody closed, lets a question lie without an error
    const silent = setTimeout(told, SILENT * shown.report.live!.seconds * 1000);
    try {
      if (!document.hidden) await once();
    } catch (error) {
      const nobody = error instanceof TypeError || error instanceof DOMException; // no connection, or given up
      told(nobody ? '' : error instanceof Error ? error.message : String(error));
      pause = Math.min(pause * 2, LONGEST);
    }
    clearTimeout(silent);
    setTimeout(again, pause);
  }
  setTimeout(again, pause);
  return shown;
}

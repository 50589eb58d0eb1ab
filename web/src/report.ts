import 'virtual:tokens.css';
import './report.css';
import { mount } from 'svelte';
import type { ReportDocument } from './core/contract';
import { follow } from './core/live.svelte';
import { startTheme } from './core/theme';
import Page from './Page.svelte';

const FORMAT = 1;

function read(): ReportDocument {
  const block = document.getElementById('fs-document');
  if (!block) throw new Error('This file is the empty template of a page; fluoroscope fills it with results.');
  const found = JSON.parse(block.textContent ?? '') as ReportDocument;
  if (found.format > FORMAT) throw new Error(`This page was made for format ${found.format}, newer than ${FORMAT}.`);
  return found;
}

function start(target: HTMLElement): void {
  startTheme();
  try {
    const shown = follow(read());
    target.replaceChildren();
    mount(Page, { target, props: { shown } });
  } catch (error) {
    target.textContent = error instanceof Error ? error.message : String(error);
    throw error;
  }
}

start(document.getElementById('fs-app')!);

import { stringToJsRegex } from '@grafana/data';
import type { VariableModel } from '@grafana/schema';

import { Prometheus, type Series, type Span } from './prometheus';
import { messageOf, type VariableReport } from './report';

/** A variable and what was chosen for it. */
interface Chosen {
  label: string;
  hidden: boolean;
  type: string;
  /** Whether there may be several values: queries then get a regular expression. */
  multi: boolean;
  values: string[];
  options: string[];
  /** What stands for "All" in queries, taken as it is. */
  allValue?: string;
  text: string;
}

const all = '$__all';

// $name, ${name}, ${name:format}, and ${__field.labels.name}.
const reference = /\$(\w+)|\$\{([\w.]+)(?::(\w+))?\}/g;

/** The variables of a dashboard, in the order in which they are declared. */
export class Variables {
  private readonly chosen = new Map<string, Chosen>();
  readonly problems: string[] = [];

  /** Resolves the variables. A choice in the URL (?var-name=value) comes before the dashboard's own. */
  static async resolve(models: VariableModel[], prometheus: Prometheus, span: Span, url: URLSearchParams): Promise<Variables> {
    const variables = new Variables();
    for (const model of models) {
      try {
        const options = await variables.optionsOf(model, prometheus, span);
        variables.chosen.set(model.name, choose(model, options, url.getAll(`var-${model.name}`)));
      } catch (thrown) {
        variables.problems.push(`variable ${model.name}: ${messageOf(thrown)}`);
      }
    }
    for (const name of url.keys()) {
      if (name.startsWith('var-') && !models.some((model) => `var-${model.name}` === name)) {
        variables.problems.push(`there is no variable ${name.slice('var-'.length)} to set`);
      }
    }
    return variables;
  }

  private async optionsOf(model: VariableModel, prometheus: Prometheus, span: Span): Promise<string[]> {
    switch (model.type) {
      case 'datasource':
        if (model.query !== 'prometheus') {
          throw new Error(`the type of the data source is ${JSON.stringify(model.query)}, not "prometheus"`);
        }
        return ['prometheus'];
      case 'query': {
        this.checkDatasource(model.datasource);
        const found = await this.ask(queryOf(model), prometheus, span);
        const options = sorted(filtered(found, model.regex), model.sort);
        if (options.length === 0) {
          throw new Error(`${queryOf(model)} finds nothing`);
        }
        return options;
      }
      default:
        throw new Error(`variables of type ${model.type} are not supported`);
    }
  }

  private async ask(query: string, prometheus: Prometheus, span: Span): Promise<string[]> {
    const labelValues = /^label_values\((?:(.+),)?\s*([a-zA-Z_]\w*)\s*\)$/s.exec(query.trim());
    if (labelValues) {
      return prometheus.labelValues(labelValues[2], this.inQuery(labelValues[1]?.trim() ?? ''), span);
    }
    const queryResult = /^query_result\((.+)\)$/s.exec(query.trim());
    if (queryResult) {
      return (await prometheus.instant(this.inQuery(queryResult[1]), span.to)).map(asText);
    }
    throw new Error(`${query} is neither label_values(...) nor query_result(...)`);
  }

  /** A problem unless the reference is to a variable of type datasource. */
  checkDatasource(datasource: { type?: string; uid?: string } | null | undefined): void {
    const name = /^\$\{?(\w+)\}?$/.exec(datasource?.uid ?? '')?.[1] ?? '';
    if (datasource?.type !== 'prometheus' || this.chosen.get(name)?.type !== 'datasource') {
      throw new Error(`the data source ${JSON.stringify(datasource)} is not a variable of the dashboard`);
    }
  }

  /** Puts values into PromQL, as Grafana's Prometheus data source does. Builtin ones are given by the caller. */
  inQuery(text: string, builtin: Record<string, string> = {}): string {
    return text.replace(reference, (match, plain?: string, braced?: string, format?: string) => {
      const name = plain ?? braced ?? '';
      if (name in builtin) {
        return builtin[name];
      }
      if (/^\d+$/.test(name)) {
        return match; // a group of label_replace
      }
      const variable = this.chosen.get(name);
      if (!variable) {
        throw new Error(`there is no variable ${name}`);
      }
      return inPromQL(variable, format);
    });
  }

  /** Puts values into text that people read; what is not a variable stays. */
  inText(text: string): string {
    return text.replace(reference, (match, plain?: string, braced?: string) => {
      return this.chosen.get(plain ?? braced ?? '')?.text ?? match;
    });
  }

  /** What a dashboard shows above its panels. */
  get visible(): Array<{ label: string; text: string }> {
    return [...this.chosen.values()].filter(({ hidden }) => !hidden);
  }

  get report(): VariableReport[] {
    return [...this.chosen].map(([name, variable]) => ({
      name,
      value: inPromQL(variable, undefined),
      options: variable.options,
    }));
  }
}

function queryOf(model: VariableModel): string {
  const query = typeof model.query === 'object' ? model.query.query : model.query;
  if (typeof query !== 'string') {
    throw new Error('it has no query');
  }
  return query;
}

function asText({ labels: { __name__: name = '', ...labels }, values, times }: Series): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  return `${name}${pairs.length ? `{${pairs.join(',')}}` : ''} ${values[0]} ${times[0]}`;
}

/** Keeps what matches, or of that the first group where there is one. */
function filtered(options: string[], regex = ''): string[] {
  if (!regex) {
    return [...new Set(options)];
  }
  const pattern = stringToJsRegex(regex);
  const kept = options.flatMap((option) => {
    const match = option.match(new RegExp(pattern, pattern.flags.replace('g', '')));
    return match ? [match[1] ?? match[0]] : [];
  });
  return [...new Set(kept)];
}

function sorted(options: string[], sort = 0): string[] {
  if (sort === 0) {
    return options;
  }
  const numeric = sort === 3 || sort === 4;
  const collator = new Intl.Collator('en', {
    numeric: numeric || sort >= 7,
    sensitivity: sort === 5 || sort === 6 ? 'base' : 'variant',
  });
  const ascending = [...options].sort(collator.compare);
  return sort % 2 === 0 ? ascending.reverse() : ascending;
}

function choose(model: VariableModel, options: string[], fromURL: string[]): Chosen {
  const multi = Boolean(model.multi || model.includeAll);
  const current = [model.current?.value ?? []].flat();
  const known = (values: string[]) => values.every((value) => options.includes(value) || (value === all && model.includeAll));
  if (fromURL.length > 0 && !known(fromURL)) {
    throw new Error(`${fromURL.join(', ')} is not among ${options.join(', ')}`);
  }
  let values = fromURL.length > 0 ? fromURL : current;
  if (values.length === 0 || !known(values)) {
    values = model.includeAll ? [all] : options.slice(0, 1);
  }
  const everything = values.includes(all);
  return {
    label: model.label ?? model.name,
    hidden: model.hide === 2,
    type: model.type,
    multi,
    values: everything ? options : values,
    options,
    allValue: everything ? (model.allValue ?? undefined) : undefined,
    text: everything ? 'All' : values.join(' + '),
  };
}

function inPromQL({ values, multi, allValue }: Chosen, format: string | undefined): string {
  if (format !== undefined && format !== 'raw') {
    throw new Error(`the format :${format} is not supported`);
  }
  if (allValue !== undefined) {
    return allValue;
  }
  if (format === 'raw') {
    return values.join(',');
  }
  if (!multi) {
    return inString(values[0]);
  }
  const escaped = values.map((value) => inString(value.replace(/[\\^$*+?.()|[\]{}]/g, '\\$&')));
  return escaped.length === 1 ? escaped[0] : `(${escaped.join('|')})`;
}

/** Escapes what must not stand as it is in a string of PromQL. */
function inString(text: string): string {
  return text.replace(/[\\"]/g, '\\$&');
}

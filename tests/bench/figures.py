"""The table: what was measured on whom, medians, ratios, and whether that is what is wanted."""
import statistics
import sys

# nginx: where files would do; cp: a file's copy by cp and sync, where that is what a vacuum amounts to
KINDS = ('kelp', 'weed', 'nginx', 'cp')

# (name, unit): the median of kelp is at most (or at least) this, or so many times that of another.
WANTED = {
    ('index, sequential keys, 1024 B', 'RSS B/needle'): [('at most', 6)],
    ('index, random keys, 1024 B', 'RSS B/needle'): [('at most', 12)],
    ('engine alone, sequential keys', 'lookup ns'): [('at most', 300)],
    ('engine alone, sequential keys', 'insert ns'): [('at most', 1000)],
    ('engine alone, sequential keys', 'longest put us'): [('at most', 1000)],
    ('engine alone, random keys', 'lookup ns'): [('at most', 300)],
    ('engine alone, random keys', 'insert ns'): [('at most', 1000)],
    ('engine alone, random keys', 'longest put us'): [('at most', 1000)],
    ('start, memory', 'CPU s'): [('of weed', 1 / 5)],
    ('start, memory, after a clean stop', 'CPU s'): [('of weed', 1 / 25)],
    ('first start, leveldb', 'CPU s'): [('of weed', 1 / 4)],
    ('vacuum', 'MB/s live'): [('of weed', 5), ('of cp', 0.7)],
    ('vacuum', 'CPU s'): [('of weed', 1 / 5)],
    ('read p99.9 around commits', 'ms'): [('at most', 5)],
    ('write p99.9 around commits', 'ms'): [('at most', 5)],
    ('read p99.9 in copy with budget', 'of idle'): [('at most', 1.5)],
    ('write p99.9 in copy with budget', 'of idle'): [('at most', 1.5)],
    ('GET', 'requests/s'): [('of nginx', 1)],
    ('GET', 'server CPU us'): [('of weed', 1 / 4)],
    ('PUT', 'requests/s'): [('of weed', 3)],
    ('PUT', 'server CPU us'): [('of weed', 1 / 4)],
    ('PUT', 'p99 us'): [('at most', 2000)],
    ('DELETE', 'requests/s'): [('of weed', 3)],
    ('POST of a form', 'requests/s'): [('of weed', 3)],
    ('GET 64 KiB', 'requests/s'): [('of nginx', 0.9)],
    ('GET 1 MiB', 'requests/s'): [('of nginx', 0.9)],
    ('GET 16 MiB', 'requests/s'): [('of nginx', 0.9)],
    ('GET 4 KiB of 64 KiB', 'requests/s'): [('of nginx', 0.9)],
    ('GET 4 KiB of 1 MiB', 'requests/s'): [('of nginx', 0.9)],
    ('GET 4 KiB of 16 MiB', 'requests/s'): [('of nginx', 0.9)],
    ('10,000 idle connections, each', 'KiB'): [('at most', 2)],
    ('RSS empty', 'MB'): [('at most', 15)],
    ('PUT ?fsync=true', 'requests/s'): [('of weed', 3)],
    ('PUT ?fsync=true', 'p99 us'): [('at most', 5000)],
    ('vacuum with live + 1 % free', 'succeeded'): [('at least', 1)],
}


class Results:
    """Figures by name; each is measured several times on each kind."""

    def __init__(self):
        self.rows = {}

    def add(self, name, unit, kind, value, more_is_better=False, digits=1):
        row = self.rows.setdefault((name, unit), {'unit': unit, 'more_is_better': more_is_better, 'digits': digits,
                                          **{k: [] for k in KINDS}})
        row[kind].append(value)

    def summary(self):
        for (name, unit), row in self.rows.items():
            median = {k: statistics.median(row[k]) if row[k] else None for k in KINDS}
            kelp, weed = median['kelp'], median['weed']
            gain = None
            if kelp and weed:
                gain = kelp / weed if row['more_is_better'] else weed / kelp
            wanted = [judge(how, number, row['more_is_better'], median) for how, number in WANTED.get((name, unit), ())]
            yield {'name': name, **row, 'median': median, 'kelp_is_better_by': gain,
                   'wanted': [{'text': text, 'is_met': is_met} for text, is_met in wanted]}

    def print(self, out=sys.stdout):
        columns = [k for k in KINDS if any(row[k] for row in self.rows.values())]
        out.write(f'{"":50}{"".join(f"{k:>12}" for k in columns)}   kelp is better by   wanted\n')
        for row in self.summary():
            cells = ''.join(f'{row["median"][k]:12,.{row["digits"]}f}' if row['median'][k] is not None else f'{"-":>12}'
                            for k in columns)
            gain = f'{row["kelp_is_better_by"]:.2f} x' if row['kelp_is_better_by'] else '-'
            wanted = '; '.join(f'{w["text"]}: {describe(w["is_met"])}' for w in row['wanted'])
            out.write(f'{row["name"] + ", " + row["unit"]:50}{cells}   {gain:>17}   {wanted}'.rstrip() + '\n')


def judge(how, number, more_is_better, median):
    """What is wanted, in words, and whether kelp's median is that; None where nobody can say."""
    if how in ('at most', 'at least'):
        text, limit = f'{how} {number:g}', number
    else:
        text = f'{number:g} x' if number >= 1 else f'1/{1 / number:g}' if (1 / number).is_integer() else f'{number:g}'
        text, other = f'{text} {how}', median[how.split()[1]]
        limit = number * other if other is not None else None
    if median['kelp'] is None or limit is None:
        return text, None
    at_least = more_is_better if how.startswith('of') else how == 'at least'
    return text, median['kelp'] >= limit if at_least else median['kelp'] <= limit


def describe(is_met):
    return {True: 'met', False: 'MISSED', None: 'not measured'}[is_met]

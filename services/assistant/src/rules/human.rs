//! Does the message ask for a person?
//!
//! No model, a small grammar: a *verb* of wanting or talking and a *noun* for a person with nothing
//! but link words between them, not under a negation. It misses roundabout requests (the fallback
//! then offers the word to say) and so does not fire on people who merely mention a person.

/// The words of one language, folded as `words` folds them.
#[derive(Debug, Default)]
pub(super) struct Lexicon {
    /// speak, talk, connect me …: any noun may follow.
    pub talk: Phrases,
    /// want, need …: only what surely is a person may follow.
    pub want: Phrases,
    /// is there …: a person may follow, and after it only a tail.
    pub exists: Phrases,
    pub tails: Phrases,
    /// What a person would do for the customer: "can a human *help* me".
    pub serve: Phrases,
    /// human, agent, real person …
    pub person: Phrases,
    /// someone: only together with talking.
    pub anyone: Phrases,
    /// customer service: only together with talking, or alone.
    pub team: Phrases,
    /// A message of nothing but these asks for a person.
    pub bare: Phrases,
    /// Nouns that mean nobody without one of `articles` before them (French "personne").
    pub needs_article: Phrases,
    pub articles: Phrases,
    /// What may stand between verb and noun.
    pub links: Phrases,
    /// What may stand between a noun and the verb behind it.
    pub after: Phrases,
    pub negations: Phrases,
    /// A negation before these reaches the wish behind them: not *sure I* need.
    pub opinions: Phrases,
    /// Bots: "no bots, a human" rejects one and asks for the other.
    pub bots: Phrases,
    /// Words that make another thing of the noun before them: human resources.
    pub not_before: Phrases,
    /// What makes a story of the verb before it (Hindi "बात हो गई", it was talked about).
    pub told: Phrases,
    /// Courtesy and greetings: say nothing about the wish.
    pub fillers: Phrases,
    /// Glued to the front of nouns (Arabic articles and prepositions).
    pub prefixes: &'static [&'static str],
    pub order: Order,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// "talk to a human" only.
    #[default]
    VerbFirst,
    /// Also "mit einem Menschen sprechen"; the noun follows a link word.
    NounAfterLink,
    /// Also "इंसान से बात"; the noun may open the clause.
    NounAnywhere,
}

/// Words and groups of words.
#[derive(Debug, Default)]
pub(super) struct Phrases(Vec<Vec<&'static str>>);

impl Phrases {
    /// Separated by commas.
    pub(super) fn of(list: &'static str) -> Self {
        let mut phrases: Vec<Vec<&str>> = list
            .split(',')
            .map(|phrase| phrase.split_whitespace().collect())
            .filter(|phrase: &Vec<&str>| !phrase.is_empty())
            .collect();
        phrases.sort_by_key(|phrase| std::cmp::Reverse(phrase.len()));
        Self(phrases)
    }

    /// How many words the longest phrase at the start of `words` has; 0 for none.
    pub(super) fn at_start(&self, words: &[String]) -> usize {
        self.at_start_with(words, &[])
    }

    fn at_start_with(&self, words: &[String], prefixes: &[&str]) -> usize {
        let same = |word: &str, wanted: &str| {
            word == wanted || prefixes.iter().any(|prefix| word.strip_prefix(prefix) == Some(wanted))
        };
        self.0
            .iter()
            .find(|phrase| {
                phrase.len() <= words.len()
                    && phrase.iter().zip(words).all(|(wanted, word)| same(word, wanted))
            })
            .map_or(0, Vec::len)
    }

    /// How many words the longest phrase at the end of `words` has; 0 for none.
    fn at_end(&self, words: &[String]) -> usize {
        let ends = |phrase: &&Vec<&str>| {
            phrase.len() <= words.len() && phrase.iter().rev().zip(words.iter().rev()).all(|(a, b)| a == b)
        };
        self.0.iter().find(ends).map_or(0, Vec::len)
    }
}

/// Words after "anyone" in which it must be told what they are wanted for.
const REACH: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Talk,
    Want,
    Exists,
    Serve,
}

/// A clause, as far as a lone "human" in the next clause is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clause {
    Asks,
    /// Nothing but nouns for a person: asks, when all the others allow it.
    Named,
    /// Courtesy, half a request ("I want to speak"), a bot turned down.
    Neutral,
    Other,
}

impl Lexicon {
    #[cfg(test)]
    pub(super) fn phrases(&self) -> Vec<String> {
        let lists = [
            &self.talk,
            &self.want,
            &self.exists,
            &self.tails,
            &self.serve,
            &self.person,
            &self.anyone,
            &self.team,
            &self.bare,
            &self.needs_article,
            &self.articles,
            &self.links,
            &self.after,
            &self.negations,
            &self.opinions,
            &self.bots,
            &self.not_before,
            &self.told,
            &self.fillers,
        ];
        lists.iter().flat_map(|list| list.0.iter().map(|phrase| phrase.join(" "))).collect()
    }

    pub(super) fn asks_for_person(&self, clauses: &[Vec<String>]) -> bool {
        let clauses: Vec<Clause> = clauses.iter().map(|words| self.clause(words)).collect();
        clauses.contains(&Clause::Asks)
            || (clauses.contains(&Clause::Named) && !clauses.contains(&Clause::Other))
    }

    fn clause(&self, words: &[String]) -> Clause {
        let asks = |at| {
            self.verb_first(words, at)
                || self.noun_first(words, at)
                || self.refuses_to_talk_to_a_bot(words, at)
                || self.asks_whether_anyone_is_there(words, at)
        };
        if (0..words.len()).any(asks) {
            return Clause::Asks;
        }
        let mut at = 0;
        let mut named = false;
        while at < words.len() {
            let rest = &words[at..];
            let noun = self.bare.at_start_with(rest, self.prefixes);
            let filler = self.fillers.at_start(rest);
            if noun == 0 && filler == 0 {
                return if self.turns_down_a_bot(words) || self.is_half_a_request(words) {
                    Clause::Neutral
                } else {
                    Clause::Other
                };
            }
            // "live agent": both may start here, the longer one is meant.
            named |= noun >= filler;
            at += noun.max(filler);
        }
        if named { Clause::Named } else { Clause::Neutral }
    }

    /// A verb at `at` and a noun behind it.
    fn verb_first(&self, words: &[String], at: usize) -> bool {
        let Some((verb, mut next)) = self.verb(words, at) else { return false };
        if verb == Verb::Serve || self.is_negated(words, at) {
            return false;
        }
        while next < words.len() {
            if let Some(end) = self.noun(words, next, verb)
                && (self.needs_article.at_start(&words[next..]) == 0
                    || self.articles.at_end(&words[..next]) > 0)
            {
                return self.noun_may_end_at(words, end, verb);
            }
            match self.links.at_start(&words[next..]) {
                0 => return false,
                length => next += length,
            }
        }
        false
    }

    /// A noun at `at` and a verb behind it.
    fn noun_first(&self, words: &[String], at: usize) -> bool {
        let follows_link = self.links.at_end(&words[..at]) > 0;
        let may_start = match self.order {
            Order::VerbFirst => false,
            Order::NounAfterLink => follows_link,
            Order::NounAnywhere => at == 0 || follows_link,
        };
        if !may_start || self.is_negated(words, at) {
            return false;
        }
        [Verb::Talk, Verb::Want, Verb::Serve].into_iter().any(|kind| {
            let Some(mut next) = self.noun(words, at, kind) else { return false };
            while next < words.len() {
                if let Some((verb, end)) = self.verb(words, next)
                    && verb == kind
                {
                    let behind = &words[end..];
                    return self.negations.at_start(behind) == 0 && self.told.at_start(behind) == 0;
                }
                match self.after.at_start(&words[next..]) {
                    0 => return false,
                    length => next += length,
                }
            }
            false
        })
    }

    fn verb(&self, words: &[String], at: usize) -> Option<(Verb, usize)> {
        let rest = &words[at..];
        [
            (Verb::Talk, &self.talk),
            (Verb::Want, &self.want),
            (Verb::Exists, &self.exists),
            (Verb::Serve, &self.serve),
        ]
        .into_iter()
        .map(|(verb, phrases)| (verb, phrases.at_start(rest)))
        .filter(|(_, length)| *length > 0)
        // The longest; of equals the first.
        .rev()
        .max_by_key(|(_, length)| *length)
        .map(|(verb, length)| (verb, at + length))
    }

    /// Where a noun that goes with `verb` ends.
    fn noun(&self, words: &[String], at: usize, verb: Verb) -> Option<usize> {
        let rest = &words[at..];
        let person = self.person.at_start_with(rest, self.prefixes);
        let length = match verb {
            Verb::Talk => person
                .max(self.anyone.at_start_with(rest, self.prefixes))
                .max(self.team.at_start_with(rest, self.prefixes)),
            Verb::Want | Verb::Exists | Verb::Serve => person,
        };
        (length > 0).then_some(at + length)
    }

    fn noun_may_end_at(&self, words: &[String], end: usize, verb: Verb) -> bool {
        let behind = &words[end..];
        // "a human not a bot" takes nothing back.
        let taken_back = self.negations.at_start(behind) > 0 && !self.turns_down_a_bot(behind);
        let free = self.not_before.at_start(behind) == 0 && !taken_back;
        match verb {
            Verb::Exists => free && (behind.is_empty() || self.tails.at_start(behind) > 0),
            Verb::Talk | Verb::Want | Verb::Serve => free,
        }
    }

    /// Walks back over what belongs to the same wish.
    fn is_negated(&self, words: &[String], at: usize) -> bool {
        let mut before = &words[..at];
        while !before.is_empty() {
            if self.negations.at_end(before) > 0 {
                return true;
            }
            let same_wish = [&self.opinions, &self.want, &self.talk, &self.person, &self.anyone, &self.links];
            let length = same_wish.iter().map(|phrases| phrases.at_end(before)).max().unwrap_or(0);
            if length == 0 {
                return false;
            }
            before = &before[..before.len() - length];
        }
        false
    }

    /// "I don't want to talk to a robot", the verb or the bot at `at`: whoever says so wants a person.
    fn refuses_to_talk_to_a_bot(&self, words: &[String], at: usize) -> bool {
        let wishes = || (0..words.len()).any(|at| self.want.at_start(&words[at..]) > 0);
        let behind = |mut next: usize, between: &Phrases, wanted: &dyn Fn(&[String]) -> usize| {
            while next < words.len() {
                match (wanted(&words[next..]), between.at_start(&words[next..])) {
                    (0, 0) => return None,
                    (0, length) => next += length,
                    (length, _) => return Some(next + length),
                }
            }
            None
        };
        let bot = |words: &[String]| self.bots.at_start_with(words, self.prefixes);
        let talk = |words: &[String]| self.talk.at_start(words);
        let verb = talk(&words[at..]);
        if verb > 0 {
            return self.is_negated(words, at) && wishes() && behind(at + verb, &self.links, &bot).is_some();
        }
        let noun = bot(&words[at..]);
        if noun == 0 {
            return false;
        }
        match self.order {
            Order::VerbFirst => false,
            Order::NounAfterLink => {
                self.is_negated(words, at) && wishes() && behind(at + noun, &self.after, &talk).is_some()
            }
            Order::NounAnywhere => behind(at + noun, &self.after, &talk)
                .is_some_and(|end| self.negations.at_start(&words[end..]) > 0),
        }
    }

    /// "Is anyone there?", "is there someone who can help me".
    fn asks_whether_anyone_is_there(&self, words: &[String], at: usize) -> bool {
        let exists = self.exists.at_start(&words[at..]);
        if exists == 0 || self.is_negated(words, at) {
            return false;
        }
        let mut next = at + exists;
        while next < words.len() && self.tails.at_start(&words[next..]) > 0 {
            next += self.tails.at_start(&words[next..]);
        }
        let anyone = self.anyone.at_start_with(&words[next.min(words.len())..], self.prefixes);
        if anyone == 0 {
            return false;
        }
        let behind = &words[next + anyone..];
        let does = |at: usize| {
            self.talk.at_start(&behind[at..]) > 0
                || self.serve.at_start_with(&behind[at..], self.prefixes) > 0
        };
        behind.is_empty()
            || (0..behind.len().min(REACH)).any(does)
            || behind.iter().all(|word| self.tails.at_start(std::slice::from_ref(word)) > 0)
    }

    fn turns_down_a_bot(&self, words: &[String]) -> bool {
        let bot = (0..words.len()).find(|&at| self.bots.at_start(&words[at..]) > 0);
        bot.is_some_and(|bot| (1..=bot).any(|end| self.negations.at_end(&words[..end]) > 0))
    }

    /// "I want to speak" and then, behind a comma, "to a human".
    fn is_half_a_request(&self, words: &[String]) -> bool {
        let verb = (0..words.len()).rev().find(|&at| self.talk.at_start(&words[at..]) > 0);
        verb.is_some_and(|at| {
            let end = at + self.talk.at_start(&words[at..]);
            !self.is_negated(words, at)
                && words[end..].iter().all(|word| self.links.at_start(std::slice::from_ref(word)) > 0)
        })
    }
}

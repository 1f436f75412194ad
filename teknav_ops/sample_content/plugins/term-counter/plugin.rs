//! term-counter: how often an article uses each of some terms, in Persian or English, and how often it was asked.
//!
//! Given   {"event": "...", "input": {"article_id": 7, "terms": ["صف", "queue"]}}
//! Answers {"article_id": 7, "counts": {"صف": 3, "queue": 0}, "asked": 2}
//!
//! Permissions: article:read, kv:read, kv:write, log. No crates: the JSON it meets is simple enough.
//!
//!     rustc --edition 2021 --target wasm32-unknown-unknown -O --crate-type cdylib \
//!         -C panic=abort -C strip=symbols -C link-arg=-zstack-size=65536 plugin.rs -o plugin.wasm

mod host {
    #[link(wasm_import_module = "teknav")]
    extern "C" {
        pub fn log(level: i32, pointer: *const u8, length: usize);
        pub fn article_read(id: i64) -> i64;
        pub fn kv_get(pointer: *const u8, length: usize) -> i64;
        pub fn kv_set(key: *const u8, key_length: usize, value: *const u8, value_length: usize) -> i32;
    }
}

/// The host puts what it has to say where this points; it is read once and belongs to the run.
#[no_mangle]
pub extern "C" fn alloc(length: usize) -> *mut u8 {
    let mut buffer = Vec::<u8>::with_capacity(length.max(1));
    let pointer = buffer.as_mut_ptr();
    std::mem::forget(buffer);
    pointer
}

#[no_mangle]
pub extern "C" fn run(pointer: *const u8, length: usize) -> i64 {
    let given = unsafe { text_at(pointer, length) };
    let answer = count(given).unwrap_or_else(|problem| format!("{{\"error\": {}}}", quoted(&problem)));
    let packed = ((answer.as_ptr() as u64) << 32 | answer.len() as u64) as i64;
    std::mem::forget(answer);
    packed
}

fn count(given: &str) -> Result<String, String> {
    let id: i64 = number(given, "article_id").ok_or("article_id: must be a number")?;
    let terms = strings(given, "terms").ok_or("terms: must be a list of texts")?;
    let article = unpacked(unsafe { host::article_read(id) }).ok_or(format!("there is no article {id}"))?;
    let body = string_after(article, "\"body\":").ok_or("the article has no body")?.to_lowercase();
    let counts: Vec<String> = terms
        .iter()
        .map(|term| format!("{}: {}", quoted(term), body.matches(term.to_lowercase().as_str()).count()))
        .collect();
    let asked = remember(id);
    let line = format!("counted {} terms in article {id}", terms.len());
    unsafe { host::log(1, line.as_ptr(), line.len()) };
    Ok(format!("{{\"article_id\": {id}, \"counts\": {{{}}}, \"asked\": {asked}}}", counts.join(", ")))
}

/// How often this article was asked about, this time included.
fn remember(id: i64) -> u64 {
    let key = format!("asked:{id}");
    let before = unpacked(unsafe { host::kv_get(key.as_ptr(), key.len()) }).and_then(|text| text.parse().ok());
    let asked: u64 = before.unwrap_or(0u64) + 1;
    let value = asked.to_string();
    unsafe { host::kv_set(key.as_ptr(), key.len(), value.as_ptr(), value.len()) };
    asked
}

unsafe fn text_at<'a>(pointer: *const u8, length: usize) -> &'a str {
    std::str::from_utf8(std::slice::from_raw_parts(pointer, length)).unwrap_or("")
}

fn unpacked<'a>(packed: i64) -> Option<&'a str> {
    let packed = packed as u64;
    if packed == 0 {
        return None;
    }
    Some(unsafe { text_at((packed >> 32) as *const u8, (packed & 0xffff_ffff) as usize) })
}

fn number(json: &str, name: &str) -> Option<i64> {
    let rest = json.split_once(&format!("\"{name}\":"))?.1.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

fn strings(json: &str, name: &str) -> Option<Vec<String>> {
    let mut rest = json.split_once(&format!("\"{name}\":"))?.1.trim_start().strip_prefix('[')?;
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if rest.starts_with(']') {
            return Some(found);
        }
        let (text, after) = string(rest)?;
        found.push(text);
        rest = after;
    }
}

fn string_after(json: &str, mark: &str) -> Option<String> {
    Some(string(json.split_once(mark)?.1.trim_start())?.0)
}

/// A JSON string at the beginning of `rest`, unescaped, and what follows it.
fn string(rest: &str) -> Option<(String, &str)> {
    let rest = rest.strip_prefix('"')?;
    let mut text = String::new();
    let mut places = rest.char_indices();
    while let Some((at, character)) = places.next() {
        match character {
            '"' => return Some((text, &rest[at + 1..])),
            '\\' => match places.next()?.1 {
                'n' => text.push('\n'),
                't' => text.push('\t'),
                'r' => text.push('\r'),
                'u' => {
                    let code: String = (0..4).filter_map(|_| places.next().map(|place| place.1)).collect();
                    text.push(char::from_u32(u32::from_str_radix(&code, 16).ok()?).unwrap_or('?'));
                }
                other => text.push(other),
            },
            other => text.push(other),
        }
    }
    None
}

fn quoted(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|c| match c {
            '"' => "\\\"".into(),
            '\\' => "\\\\".into(),
            c if c < ' ' => format!("\\u{:04x}", c as u32),
            c => c.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}

//! What the generator says about a description that is wrong: the file, the line, and what is wanted.

use crate::schema::parse;

#[test]
fn a_wrong_description_names_its_line() {
    let check = |body: &str, expected: &str| {
        let text = format!("# a comment\nrequest 3 Thing v0-9 flex 5+ [b] {{\n{body}\n}}\n");
        let error = parse("thing.txt", &text).map(|_| ()).unwrap_err().to_string();
        assert_eq!(error, expected);
    };
    check(
        "Name",
        "thing.txt:3: `Name` is not a field: `Name:type` is wanted",
    );
    check(
        "Name:string",
        "thing.txt:3: `string` is neither a type nor the name of a struct",
    );
    check("\nName:str@x", "thing.txt:4: `x` is not a version");
    check("Name:str@3-1", "thing.txt:3: `3-1` is empty");
    check(
        "Name:str@10+",
        "thing.txt:3: `10+` shares no version with what it stands in",
    );
    check(
        "Name:str!",
        "thing.txt:3: `str!` is neither a type nor the name of a struct",
    );
    check("Name:str~3", "thing.txt:3: `~3` is not `~tagN`");
    check("Name:str*3", "thing.txt:3: `*3` says nothing about a field");
    check(
        "Name:str~tag0",
        "thing.txt:3: tagged in a version that is not flexible",
    );
    check("A:str@5+~tag0\nB:str@5+~tag0", "thing.txt:4: tag 0 is taken");
    check("A:str@5+~tag1", "thing.txt:2: the tags of Thing have a gap");
    check("A:[]Other", "thing.txt:3: nobody says what Other is");
    check("A:[]Thing", "thing.txt:3: Thing contains itself");
    check(
        "A:[]One {\nB:[]Two {\nC:One?\n}\n}",
        "thing.txt:4: One contains itself",
    );
    check(
        "A:One {\nB:i8\n}\nC:One {\nB:i8\n}",
        "thing.txt:6: a second struct One in Thing",
    );
    check("A:i8 {", "thing.txt:3: A has a body, so its type must be a name");
    check("where One", "thing.txt:3: a `where` struct has a body");
    check("A:One {", "thing.txt:4: the closing } is missing");
}

#[test]
fn a_wrong_head_names_its_line() {
    let check = |head: &str, expected: &str| {
        let error = parse("thing.txt", head).map(|_| ()).unwrap_err().to_string();
        assert_eq!(error, format!("thing.txt:1: {expected}"));
    };
    check("request", "`KIND NUMBER NAME vN-M flex N+ {` is wanted");
    check(
        "request Thing v0 flex 0+ {",
        "`Thing` is not the number of an API or a record",
    );
    check(
        "request 3 Thing v0 {",
        "`NAME vN-M flex N+ [bc] {` is wanted after the number",
    );
    check("request 3 Thing 0-9 flex 0+ {", "`0-9` does not begin with v");
    check("data Thing v0 flex all {", "`all` is not a version");
}

"""The table of languages: one row each, node kinds and line habits as data.

Knows names only; loads no grammar and reads no text.
"""

from __future__ import annotations

from .language_row import Language, kinds

_C_LEADS = (".", "?.", "->", "&&", "||", "+", "?", ":", "|", "=", "<<", "*", "/")
_JS_LEADS = (".", "?.", "&&", "||", "??", "+", "?", ":", "|", "=", "*", "/", "instanceof", "in ")
_TRY = (("try_statement", ("catch_clause", "finally_clause")),)

_PYTHON = Language(
    name="python",
    ids=("python",),
    extensions=(".py", ".pyi", ".pyw"),
    grammar=("tree_sitter_python", "language"),
    functions=kinds("function_definition"),
    classes=kinds("class_definition"),
    bodies=kinds("block module"),
    imports=kinds("import_statement import_from_statement future_import_statement"),
    arguments=kinds("argument_list parameters list tuple dictionary set"),
    decorators=kinds("decorator"),
    needs=(("try_statement", ("except_clause", "finally_clause")),),
    continues=("else", "elif", "except", "finally", "case"),
    opens=r"(:|[({\[])\s*(#.*)?$",
    comment=("#", ""),
    quotes=('"""', "'''", '"', "'"),
    elided="...",
    indented=True,
)

_JAVASCRIPT = Language(
    name="javascript",
    ids=("javascript", "javascriptreact"),
    extensions=(".js", ".jsx", ".mjs", ".cjs"),
    grammar=("tree_sitter_javascript", "language"),
    functions=kinds(
        "function_declaration generator_function_declaration method_definition function_expression"
        " arrow_function"
    ),
    classes=kinds("class_declaration class"),
    bodies=kinds("statement_block class_body switch_body program"),
    imports=kinds("import_statement"),
    arguments=kinds("arguments formal_parameters array object named_imports"),
    decorators=kinds("decorator"),
    needs=_TRY,
    labels=kinds("switch_case switch_default"),
    continues=("case", "default", "else", "catch", "finally", "while"),
    opens=r"([{(\[]|=>|<[A-Za-z][^<>]*>|<>)\s*$",
    leads=_JS_LEADS,
    closers=("}", ")", "]", "</"),
    quotes=("`", '"', "'"),
)


def _typescript(name: str, ids: tuple[str, ...], extensions: tuple[str, ...], loader: str) -> Language:
    return Language(
        name=name,
        ids=ids,
        extensions=extensions,
        grammar=("tree_sitter_typescript", loader),
        functions=_JAVASCRIPT.functions | {"function_signature", "method_signature"},
        classes=kinds(
            "class_declaration abstract_class_declaration interface_declaration enum_declaration"
            " internal_module"
        ),
        bodies=_JAVASCRIPT.bodies | {"interface_body", "enum_body", "object_type"},
        imports=_JAVASCRIPT.imports,
        arguments=_JAVASCRIPT.arguments | {"type_arguments", "type_parameters"},
        decorators=_JAVASCRIPT.decorators,
        needs=_TRY,
        labels=_JAVASCRIPT.labels,
        continues=_JAVASCRIPT.continues,
        opens=_JAVASCRIPT.opens if loader == "language_tsx" else r"([{(\[]|=>)\s*$",
        leads=_JS_LEADS,
        closers=_JAVASCRIPT.closers,
        quotes=_JAVASCRIPT.quotes,
    )


ROWS = (
    _PYTHON,
    _JAVASCRIPT,
    _typescript("typescript", ("typescript",), (".ts", ".mts", ".cts"), "language_typescript"),
    _typescript("tsx", ("typescriptreact", "tsx"), (".tsx",), "language_tsx"),
    Language(
        name="java",
        ids=("java",),
        extensions=(".java",),
        grammar=("tree_sitter_java", "language"),
        functions=kinds("method_declaration constructor_declaration compact_constructor_declaration"),
        classes=kinds("class_declaration interface_declaration enum_declaration record_declaration"),
        bodies=kinds("block class_body interface_body enum_body constructor_body switch_block program"),
        imports=kinds("import_declaration package_declaration"),
        arguments=kinds("argument_list formal_parameters array_initializer type_arguments"),
        decorators=kinds("marker_annotation annotation"),
        needs=_TRY,
        labels=kinds("switch_block_statement_group"),
        continues=("case", "default", "else", "catch", "finally", "while"),
        leads=_C_LEADS,
    ),
    Language(
        name="c",
        ids=("c", "objective-c"),
        extensions=(".c",),
        grammar=("tree_sitter_c", "language"),
        functions=kinds("function_definition"),
        classes=kinds("struct_specifier union_specifier enum_specifier"),
        bodies=kinds("compound_statement field_declaration_list enumerator_list translation_unit"),
        imports=kinds("preproc_include"),
        arguments=kinds("argument_list parameter_list initializer_list enumerator_list"),
        labels=kinds("case_statement"),
        continues=("case", "default", "else", "while"),
        leads=_C_LEADS,
    ),
    Language(
        name="cpp",
        ids=("cpp", "cuda-cpp"),
        # .h holds C or C++; the C++ grammar reads nearly all of C, the other way round it does not.
        extensions=(".cpp", ".cc", ".cxx", ".hpp", ".hh", ".hxx", ".h", ".ipp", ".inl", ".cu", ".cuh"),
        grammar=("tree_sitter_cpp", "language"),
        functions=kinds("function_definition"),
        classes=kinds("class_specifier struct_specifier union_specifier enum_specifier namespace_definition"),
        bodies=kinds(
            "compound_statement field_declaration_list enumerator_list declaration_list translation_unit"
        ),
        imports=kinds("preproc_include using_declaration"),
        arguments=kinds("argument_list parameter_list initializer_list template_argument_list"),
        needs=(("try_statement", ("catch_clause",)),),
        labels=kinds("case_statement"),
        continues=("case", "default", "else", "catch", "while"),
        leads=_C_LEADS,
    ),
    Language(
        name="csharp",
        ids=("csharp",),
        extensions=(".cs",),
        grammar=("tree_sitter_c_sharp", "language"),
        functions=kinds("method_declaration constructor_declaration local_function_statement"),
        classes=kinds(
            "class_declaration interface_declaration struct_declaration record_declaration enum_declaration"
            " namespace_declaration"
        ),
        bodies=kinds("block declaration_list switch_body accessor_list compilation_unit"),
        imports=kinds("using_directive"),
        arguments=kinds("argument_list parameter_list initializer_expression bracketed_argument_list"),
        decorators=kinds("attribute_list"),
        needs=_TRY,
        labels=kinds("switch_section"),
        continues=("case", "default", "else", "catch", "finally", "while"),
        leads=_C_LEADS,
    ),
    Language(
        name="go",
        ids=("go",),
        extensions=(".go",),
        grammar=("tree_sitter_go", "language"),
        functions=kinds("function_declaration method_declaration func_literal"),
        classes=kinds("struct_type interface_type"),
        bodies=kinds("block statement_list field_declaration_list source_file"),
        imports=kinds("import_declaration package_clause"),
        arguments=kinds("argument_list parameter_list literal_value"),
        labels=kinds("expression_case default_case type_case communication_case"),
        continues=(
            "case",
            "default",
            "else",
        ),
        quotes=("`", '"', "'"),
    ),
    Language(
        name="rust",
        ids=("rust",),
        extensions=(".rs",),
        grammar=("tree_sitter_rust", "language"),
        functions=kinds("function_item function_signature_item"),
        classes=kinds("struct_item enum_item impl_item trait_item mod_item"),
        bodies=kinds(
            "block declaration_list field_declaration_list enum_variant_list match_block source_file"
        ),
        imports=kinds("use_declaration extern_crate_declaration"),
        arguments=kinds("arguments parameters array_expression tuple_expression type_arguments token_tree"),
        decorators=kinds("attribute_item"),
        continues=("else",),
        leads=_C_LEADS,
        quotes=('"',),  # the apostrophe also begins a lifetime
    ),
    Language(
        name="ruby",
        ids=("ruby",),
        extensions=(".rb", ".rake", ".gemspec"),
        grammar=("tree_sitter_ruby", "language"),
        functions=kinds("method singleton_method"),
        classes=kinds("class module singleton_class"),
        bodies=kinds("body_statement block_body then do do_block program"),
        arguments=kinds("argument_list method_parameters array hash"),
        heredocs=True,
        continues=("else", "elsif", "rescue", "ensure", "when", "in"),
        closers=("end", "}", ")", "]"),
        opens=r"(^\s*(def|class|module|if|unless|while|until|case|begin|else|elsif|when|rescue|ensure)\b.*"
        r"|\bdo(\s*\|[^|]*\|)?|[{(\[](\s*\|[^|]*\|)?)\s*$",
        leads=(".", "&.", "&&", "||", "?", ":"),
        comment=("#", ""),
        elided="# ...\nend",
    ),
    Language(
        name="php",
        ids=("php",),
        extensions=(".php", ".phtml"),
        grammar=("tree_sitter_php", "language_php"),
        functions=kinds("function_definition method_declaration"),
        classes=kinds("class_declaration interface_declaration trait_declaration enum_declaration"),
        bodies=kinds("compound_statement declaration_list switch_block match_block program"),
        imports=kinds("namespace_use_declaration namespace_definition"),
        arguments=kinds("arguments formal_parameters array_creation_expression"),
        decorators=kinds("attribute_list"),
        needs=_TRY,
        labels=kinds("case_statement default_statement"),
        heredocs=True,
        continues=("case", "default", "else", "elseif", "catch", "finally", "while"),
        leads=("->", "?->", ".", "&&", "||", "?", ":", "+", "="),
    ),
    Language(
        name="bash",
        ids=("shellscript", "bash", "sh", "zsh"),
        extensions=(".sh", ".bash", ".zsh"),
        grammar=("tree_sitter_bash", "language"),
        functions=kinds("function_definition"),
        bodies=kinds("compound_statement do_group program"),
        arguments=kinds("array"),
        heredocs=True,
        labels=kinds("case_item"),
        continues=("else", "elif"),
        closers=("fi", "done", "esac", "}", ")", ";;"),
        opens=r"(\bthen|\bdo|\belse|\{|\(|\bin|[^()\s]\))\s*$",
        comment=("#", ""),
        elided="{ :; # ...\n}",
    ),
    Language(
        name="lua",
        ids=("lua",),
        extensions=(".lua",),
        grammar=("tree_sitter_lua", "language"),
        functions=kinds("function_declaration function_definition"),
        bodies=kinds("block chunk"),
        arguments=kinds("arguments parameters table_constructor"),
        continues=("else", "elseif"),
        closers=("end", "until", "}", ")", "]"),
        opens=r"(\bthen|\bdo|\belse|\brepeat|\bfunction\b[^()]*\([^()]*\)|[{(\[])\s*$",
        leads=(".", ":", "+", "*", "/", "and ", "or ", "=="),
        comment=("--", ""),
        elided="-- ...\nend",
    ),
    Language(
        name="html",
        ids=("html", "vue-html"),
        extensions=(".html", ".htm", ".xhtml"),
        grammar=("tree_sitter_html", "language"),
        bodies=kinds("document"),
        closers=("</", "/>"),
        opens=r"<[A-Za-z][^<>]*[^/<>-]>\s*$|<[A-Za-z]>\s*$",
        comment=("<!--", "-->"),
        quotes=(),  # an apostrophe is text
        elided="<!-- ... -->",
    ),
    Language(
        name="css",
        ids=("css", "scss", "less"),
        extensions=(".css",),
        grammar=("tree_sitter_css", "language"),
        functions=kinds("rule_set keyframe_block"),
        classes=kinds("media_statement supports_statement"),
        bodies=kinds("block keyframe_block_list stylesheet"),
        imports=kinds("import_statement charset_statement"),
        arguments=kinds("arguments"),
        comment=("/*", "*/"),
    ),
    Language(
        name="json",
        ids=("json", "jsonc"),
        extensions=(".json", ".jsonc", ".webmanifest"),
        grammar=("tree_sitter_json", "language"),
        bodies=kinds("document"),
        trailing_comma=False,
        arguments=kinds("object array"),
        quotes=('"',),
    ),
)

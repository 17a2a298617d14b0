/* html_template.S -- the page, see html_template.h. PAGE_HTML is what scripts/build-page wrote. */
    .section .rodata
    .globl page_html, page_size
    .hidden page_html, page_size
page_html:
    .incbin PAGE_HTML
end:
    .balign 8
page_size:
    .quad end - page_html
    .section .note.GNU-stack, "", %progbits

-- The log names a decided appeal by its id alone; earlier versions wrote the prompt behind it, which outlived its person.

UPDATE audit SET detail = substr(detail, 1, instr(detail, ':') - 1)
WHERE action LIKE 'appeal.%' AND instr(detail, ':') > 0;

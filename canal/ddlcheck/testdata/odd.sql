ALTER TABLE entry DROP note;
-- found: notice entry/entry: note is a column of the dataset; declare the dataset anew without it | topic: envelopes have no note any more | index: note is null in what is written afterwards, and stays in older documents
ALTER TABLE entry DROP doc\G
-- found: notice entry/entry: doc is a column of the dataset; declare the dataset anew without it | topic: envelopes have no doc any more | index: doc is null in what is written afterwards, and stays in older documents
FROBNICATE TABLE entry;
-- found: repair /: FROBNICATE is not understood, or runs what is not in this script | topic: unknown | index: unknown
CALL migrate();
-- found: repair /: CALL is not understood, or runs what is not in this script | topic: unknown | index: unknown
ANALYZE TABLE entry;
-- found: fine /: it changes no row of a table | topic:  | index: 
;
-- found: repair /: it is not understood, or runs what is not in this script | topic: unknown | index: unknown
DELIMITER	$$
SELECT 'a;b' $$
-- found: fine /: it changes no row of a table | topic:  | index: 
ALTER TABLE entry COMMENT=entry$$
-- found: fine entry/entry: no value of a row changes | topic: no change | index: no change
DELIMITER	;
-- found: repair /: a string, a name or a comment begins here and has no end; what follows it can't be read | topic: unknown | index: unknown
ALTER TABLE `entry ADD c INT;
